// The rates of the last 300 intervals of each route, from /api/history and then from the events.

export const LENGTH = 300;
export const KINDS = ["bits", "datagrams", "dropped"];

/** All parts of a route, in the order in which packets come to them: [kind, part]. */
export function partsOf(route) {
  return route.isEnabled ? namedPartsOf(route) : [];
}

/** The same, of a disabled route as well, whose parts have names only. */
export function namedPartsOf(route) {
  return [
    ...(route.input ? [["input", route.input]] : []),
    ...(route.stages ?? []).map((part) => ["stage", part]),
    ...(route.outputs ?? []).map((part) => ["output", part]),
  ];
}

/** The health of a route's input; null if it is not looked at. */
export function healthOf(route) {
  return route.health ?? null;
}

/** Whether a part is what looks at the health. */
export function isHealthStage(kind, part) {
  return kind === "stage" && part.name === "Health";
}

/** What a route's parts drop a second. */
export function droppedRate(route) {
  let sum = 0;
  for (const [, part] of partsOf(route)) sum += part.rate.dropped;
  return sum;
}

/** Rates, the newest last; NaN where nothing is known. */
export class Series {
  constructor() {
    for (const kind of KINDS) this[kind] = new Float32Array(LENGTH).fill(NaN);
  }

  fill(rates) {
    for (const kind of KINDS) {
      const newest = (rates[kind] ?? []).slice(-LENGTH);
      this[kind].fill(NaN).set(newest, LENGTH - newest.length);
    }
  }

  /** @param {number} missed intervals before this one, of which nothing is known */
  push(missed, bits, datagrams, dropped) {
    for (const kind of KINDS) this[kind].copyWithin(0, missed + 1).fill(NaN, LENGTH - missed - 1);
    this.bits[LENGTH - 1] = bits;
    this.datagrams[LENGTH - 1] = datagrams;
    this.dropped[LENGTH - 1] = dropped;
  }
}

export class History {
  constructor() {
    this.interval = 1;
    this.time = -Infinity;
    this.uptime = null; // at that time; the server's clock may be set
    this.routes = new Map();
  }

  /** Forget all, and begin with what /api/history answered. */
  fill(answer) {
    this.interval = answer.interval;
    this.time = answer.time;
    this.uptime = null;
    this.routes.clear();
    for (const [name, rates] of Object.entries(answer.routes)) this.of(name).fill(rates);
  }

  of(name) {
    let series = this.routes.get(name);
    if (series === undefined) this.routes.set(name, (series = new Series()));
    return series;
  }

  /** Add the rates of a status, unless it is of an interval that is there already. */
  push(status) {
    this.interval = status.interval;
    this.uptime ??= status.uptime - (status.time - this.time);
    const passed = (status.uptime - this.uptime) / status.interval;
    if (passed < 0.5) return;
    const missed = Math.max(1, Math.min(LENGTH, Math.round(passed))) - 1;
    this.uptime = status.uptime;
    const names = new Set();
    for (const route of status.routes) {
      if (!route.isEnabled) continue;
      names.add(route.name);
      const series = this.of(route.name);
      const { bits, datagrams } = route.input.rate;
      series.push(missed, bits, datagrams, droppedRate(route));
    }
    for (const name of this.routes.keys()) if (!names.has(name)) this.routes.delete(name);
  }
}
