// The legs of an input that is made of several: one row each, under the input of an opened route.

import { element, setAttribute, setHidden, setText, Views } from "./dom.js";
import { count, duration } from "./format.js";

const HEADS = ["Leg", "State", "Received", "Used", "Lost", "Late", "Behind", "Dropped"];
const KINDS = { merge: "merged", failover: "of which one is given on" };

export class Legs {
  constructor() {
    const head = element("tr", {}, ...HEADS.map((text) => element("th", { scope: "col", text })));
    const body = element("tbody");
    this.caption = element("caption");
    this.element = element(
      "table",
      { class: "legs" },
      this.caption,
      element("thead", {}, head),
      body,
    );
    this.rows = new Views(body, legView, (leg, index) => `${index} ${leg.name}`);
  }

  /** @param {?object} redundancy of the input; null if it is a plain one */
  update(redundancy) {
    setHidden(this.element, redundancy === null);
    if (redundancy === null) return;
    const { kind, legs, changes } = redundancy;
    const changed = changes > 0 ? `; changed ${changes === 1 ? "once" : `${count(changes)} times`}` : "";
    setText(this.caption, `${count(legs.length)} legs, ${KINDS[kind] ?? kind}${changed}`);
    this.rows.update(legs);
  }
}

function legView() {
  const cells = HEADS.map((text, index) =>
    index === 0
      ? element("th", { scope: "row", class: "url" })
      : element("td", { "data-head": text }),
  );
  const made = element("tr", {}, ...cells);
  return {
    element: made,
    update: (leg) => {
      const texts = [
        leg.name,
        stateOf(leg),
        count(leg.datagrams),
        count(leg.used),
        lostOf(leg),
        leg.late === null ? "–" : count(leg.late),
        leg.skew === null ? "–" : `${(1000 * leg.skew.most).toFixed(1)} ms`,
        droppedOf(leg),
      ];
      texts.forEach((text, index) => setText(cells[index], text));
      setAttribute(made, "data-level", isWell(leg) ? null : "warn");
    },
  };
}

function isWell({ state, isSilent }) {
  return state.length > 0 && !isSilent;
}

function stateOf({ state, silence, isSilent, isActive }) {
  if (state.length === 0) return "closed";
  if (silence === null) return "not heard yet";
  if (isSilent) return `silent for ${duration(silence)}`;
  if (isActive === null) return "heard";
  return isActive ? "given on" : "standing by";
}

function droppedOf({ dropped }) {
  const reasons = Object.entries(dropped).filter(([, number]) => number > 0);
  return reasons.map(([reason, number]) => `${count(number)} ${reason}`).join(", ") || "none";
}

function lostOf({ lost, lossRate }) {
  const rate = lossRate === null ? "" : `${(100 * lossRate).toFixed(1)} %`;
  if (lost === null) return rate || "–";
  return lossRate > 0 ? `${count(lost)}, now ${rate}` : count(lost);
}
