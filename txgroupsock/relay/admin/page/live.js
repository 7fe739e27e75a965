// The connection to /api/events: it is kept, and what happens to it is told.

/** Seconds to wait before asking again, where the browser does not do so by itself. */
const PAUSE = 2;

/** Statuses that are kept while the history is on its way. */
const KEPT = 10;

/** Seconds without a word, besides three intervals, after which a connection is taken for dead. */
const SILENCE = 3;

export class Live {
  /**
   * @param {function(Object)} told of each status
   * @param {function(Object, Array)} remembered is given what /api/history answers, at each new
   *     connection, and the statuses that have come since it was asked for
   * @param {function(boolean)} connected is told whether there is a connection, when that changes
   */
  constructor(told, remembered, connected) {
    this.told = told;
    this.remembered = remembered;
    this.connected = connected;
    this.isConnected = null;
    this.interval = 1;
    this.source = null;
    this.recent = null;
    this.timer = undefined;
    this.heard = performance.now();
  }

  start() {
    this.open();
    setInterval(() => this.look(), 1000);
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    this.heard = performance.now();
    const source = (this.source = new EventSource("api/events"));
    source.addEventListener("open", () => this.remember());
    source.addEventListener("status", (event) => this.hear(source, event.data));
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.lose();
      if (source.readyState === EventSource.CLOSED) this.openSoon();
    });
  }

  openSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), PAUSE * 1000);
  }

  hear(source, data) {
    if (source !== this.source) return;
    const status = JSON.parse(data);
    this.heard = performance.now();
    this.interval = status.interval;
    if (this.isConnected !== true) {
      this.isConnected = true;
      this.connected(true);
    }
    if (this.recent !== null && this.recent.length < KEPT) this.recent.push(status);
    this.told(status);
  }

  lose() {
    if (this.isConnected === false) return;
    this.isConnected = false;
    this.connected(false);
  }

  /** Whether it still speaks: a computer that slept, or a broken path, closes nothing. */
  look() {
    if (this.source.readyState !== EventSource.OPEN) return;
    const silent = (performance.now() - this.heard) / 1000;
    if (silent < 3 * this.interval + SILENCE) return;
    this.lose();
    this.open();
  }

  async remember() {
    const recent = (this.recent = []);
    try {
      const answer = await fetch("api/history", { cache: "no-store" });
      if (answer.ok) this.remembered(await answer.json(), recent);
    } catch {
      // The events alone fill the charts, too.
    }
    if (this.recent === recent) this.recent = null;
  }
}
