// The status page: what /api/events says, on the screen.

import { Attention } from "./attention.js";
import { byId, element, setAttribute, setText } from "./dom.js";
import { clock, duration } from "./format.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { Routes } from "./routes.js";
import { Drops, troubleOf } from "./trouble.js";
import { Viewers } from "./viewers.js";

const NAME = "groupsock-relay";

/** Seconds that the page says that the connection is back. */
const BACK = 15;

class Page {
  constructor() {
    this.history = new History();
    this.drops = new Drops();
    this.overview = new Overview();
    this.routes = new Routes(this.history);
    this.viewers = new Viewers();
    this.attention = new Attention(
      (name) => this.routes.open(name),
      () => this.routes.showTrouble(),
      (text) => this.announce(text),
    );
    this.status = null;
    this.lost = null;
    this.backUntil = -Infinity;
    this.live = new Live(
      (status) => this.hear(status),
      (answer, recent) => this.remember(answer, recent),
      (isConnected) => this.connect(isConnected),
    );
    // What nobody looks at is not drawn, but still remembered.
    document.addEventListener("visibilitychange", () => this.show());
    this.live.start();
  }

  hear(status) {
    this.status = status;
    this.dropping = this.drops.update(status);
    this.history.push(status);
    this.heardAt = Date.now() / 1000;
    setAttribute(document.body, "data-known", "");
    this.show();
  }

  remember(answer, recent) {
    this.history.fill(answer);
    for (const status of recent) this.history.push(status);
    if (this.status !== null) this.draw();
  }

  show() {
    const { status } = this;
    if (status === null || document.hidden) return;
    const entries = troubleOf(status, this.dropping);
    this.overview.update(status);
    this.routes.update(status, this.dropping);
    this.viewers.update(status.viewers, status.uptime);
    this.attention.update(entries);
    this.overview.draw(this.history);
    this.trouble = entries.length;
    if (this.heardAt > this.backUntil) setText(byId("connection"), `Live, ${clock(status.time)}`);
    this.head();
  }

  draw() {
    if (document.hidden) return;
    this.overview.draw(this.history);
    this.routes.draw();
  }

  connect(isConnected) {
    const now = Date.now() / 1000;
    setAttribute(document.body, "data-connection", isConnected ? "live" : "lost");
    if (!isConnected) {
      this.lost = this.heardAt ?? now;
      const said = `Connection lost since ${clock(this.lost)}.`;
      const seen = this.status === null ? "" : " What you see is from then.";
      setText(byId("connection"), `${said}${seen} Trying again.`);
      this.announce(said);
    } else {
      if (this.lost !== null) {
        const back = `Connected again at ${clock(now)}, after ${duration(now - this.lost)}.`;
        setText(byId("connection"), back);
        this.backUntil = now + BACK;
        this.announce(back);
      }
      this.lost = null;
    }
    this.head();
  }

  /** What the bar, and the title of the window, say. */
  head() {
    const pill = byId("readiness");
    let [text, level] = ["Connecting", "none"];
    if (this.lost !== null) [text, level] = ["Not connected", "bad"];
    else if (this.status?.isReady) [text, level] = ["Ready", "good"];
    else if (this.status !== null) [text, level] = ["Not ready", "bad"];
    setText(pill, text);
    setAttribute(pill, "data-level", level);
    const count = this.trouble > 0 ? `(${this.trouble}) ` : "";
    const title = this.lost === null ? `${count}${NAME}` : `(!) ${NAME}: connection lost`;
    if (document.title !== title) document.title = title;
  }

  /** Tell a screen reader; what was told shortly before is not taken back. */
  announce(text) {
    const said = byId("announcements");
    said.append(element("p", { text }));
    while (said.childElementCount > 5) said.firstChild.remove();
  }
}

new Page();
