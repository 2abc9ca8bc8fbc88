/** The strip on top: the six steps of a first incident, ticked off as they are seen to happen. */

import { h, reconcile } from "../dom.js";
import { icon } from "../icons.js";
import { recall, remember } from "../memory.js";

const STEPS = [
  ["Press", "Bad deploy", ""],
  ["Watch", "#incidents", ""],
  ["", "Acknowledge", ""],
  ["", "Roll back", ""],
  ["", "Resolve", ""],
  ["Read the", "postmortem", ""],
];

const HURT = new Set(["degraded", "down"]);

export function tour(app) {
  const list = h("ol", { class: "tour-steps" });
  const node = h("section", { class: "tour", "aria-label": "First steps", hidden: recall("tour") === "closed" },
    list, h("button", { type: "button", class: "icon-btn", "aria-label": "Dismiss the first steps", title: "Dismiss", on: { click: () => show(false) } }, icon("close", { size: 16 })));
  const done = new Set();

  function show(open) {
    node.hidden = !open;
    remember("tour", open ? "open" : "closed");
    if (open) node.querySelector("button").focus();
  }

  function tick(step) {
    if (done.has(step)) return;
    done.add(step);
    draw();
  }

  function look() {
    const panel = app.store.panel;
    if (!panel) return;
    const pages = panel.pages ?? [];
    if (panel.faults.some((fault) => fault.on)) tick(0);
    const { channel } = app.router.place;
    const here = app.store.channels.get(channel)?.name ?? "";
    const cards = (app.store.messages.get(channel) ?? []).some((message) => message.bot_id && message.blocks?.length);
    if (done.has(0) && cards && /^inc/.test(here)) tick(1);
    if (done.has(0) && pages.some((page) => page.status === "acknowledged" || page.status === "resolved")) tick(2);
    if (done.has(0) && panel.faults.every((fault) => !fault.on) && !panel.models.some((model) => HURT.has(model.state))) tick(3);
    if (done.has(0) && pages.length && pages.every((page) => page.status === "resolved")) tick(4);
  }

  function draw() {
    const next = STEPS.findIndex((_, at) => !done.has(at));
    reconcile(list, STEPS.map(([before, strong], at) => ({
      key: String(at),
      sig: `${done.has(at)}/${at === next}`,
      make: () => h("li", { class: `step${done.has(at) ? " step-done" : ""}${at === next ? " step-next" : ""}`, "aria-current": at === next ? "step" : null },
        h("span", { class: "step-number" }, done.has(at) ? icon("check", { size: 13 }) : String(at + 1)),
        h("span", {}, before && `${before} `, h("strong", {}, strong), done.has(at) && h("span", { class: "sr-only" }, " (done)"))),
    })));
  }

  app.store.on("panel messages", look);
  app.router.on("moved", look);
  app.store.on("tour", () => show(true));
  document.addEventListener("click", (event) => { if (/postmortem/i.test(event.target.closest?.("a")?.href ?? "")) tick(5); }, true);
  draw();
  return node;
}
