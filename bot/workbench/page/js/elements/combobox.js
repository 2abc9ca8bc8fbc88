/**
 * A select with a search field, for one or several choices: the base of every Slack select.
 *
 * `groups`: [{label?, options: [{value, text, description?, lead?}]}] (`lead`: a function that makes a picture);
 * `selected`: values; `onChange(values)` hears each finished choice. Keys: arrows, Enter, Escape, typing.
 */

import { h, replaceChildren, uid } from "../dom.js";
import { icon } from "../icons.js";
import { openPopover } from "../ui/popover.js";

const SEARCH_FROM = 8;

export function combobox({ label, placeholder, groups, selected = [], multiple = false, max = Infinity, focusKey, onChange }) {
  const all = new Map(groups.flatMap((group) => group.options.map((option) => [option.value, option])));
  let chosen = selected.filter((value) => all.has(value));
  let popover = null;

  const face = h("span", { class: "combo-face" });
  const trigger = h(
    "button",
    {
      type: "button", class: `combo${multiple ? " combo-multi" : ""}`, "aria-haspopup": "listbox", "aria-expanded": "false",
      "aria-label": label, dataset: { focus: focusKey },
      on: {
        click: () => (popover ? popover.close() : open()),
        keydown: (event) => {
          if (["ArrowDown", "ArrowUp"].includes(event.key) && !popover) {
            event.preventDefault();
            open();
          }
        },
      },
    },
    face,
    icon("chevron", { size: 16 }),
  );

  function paint() {
    if (!chosen.length) {
      replaceChildren(face, h("span", { class: "combo-placeholder" }, placeholder));
    } else if (multiple) {
      replaceChildren(face, chosen.map((value) => h("span", { class: "chip" }, all.get(value).lead?.(), all.get(value).text,
        h("span", { class: "chip-x", title: "Remove", on: { click: (event) => { event.stopPropagation(); toggle(value); if (!popover) onChange(chosen); } } }, icon("close", { size: 11 })))));
    } else {
      replaceChildren(face, all.get(chosen[0]).lead?.(), h("span", { class: "combo-text" }, all.get(chosen[0]).text));
    }
  }

  function toggle(value) {
    if (chosen.includes(value)) chosen = chosen.filter((entry) => entry !== value);
    else if (chosen.length < max) chosen = [...chosen, value];
    paint();
  }

  function open() {
    const before = chosen.join("\n");
    const listId = uid("list");
    let active = 0;
    let shown = [];
    const list = h("div", { class: "listbox", id: listId, role: "listbox", "aria-label": label, "aria-multiselectable": multiple ? "true" : null });
    const search = h("input", {
      class: "listbox-search", type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": listId, "aria-label": `Search ${label}`,
      "aria-autocomplete": "list", placeholder: "Search", autocomplete: "off", spellcheck: "false", on: { input: () => { active = 0; draw(); } },
    });
    const box = h("div", { class: `popover-list${all.size < SEARCH_FROM ? " no-search" : ""}`, on: { keydown } }, search, list);

    function draw() {
      const wanted = search.value.trim().toLowerCase();
      shown = [];
      const rows = [];
      for (const group of groups) {
        const options = group.options.filter((option) => `${option.text} ${option.description ?? ""}`.toLowerCase().includes(wanted));
        if (!options.length) continue;
        if (group.label) rows.push(h("div", { class: "listbox-group" }, group.label));
        for (const option of options) {
          const at = shown.push(option) - 1;
          rows.push(h("div", {
            class: "option", role: "option", id: `${listId}-${at}`, "aria-selected": String(chosen.includes(option.value)),
            dataset: { active: at === active ? "true" : null },
            on: { click: () => pick(option), mousemove: () => { if (active !== at) { active = at; point(); } } },
          }, option.lead?.(), h("span", { class: "option-text" }, h("span", {}, option.text), option.description && h("small", {}, option.description)),
          h("span", { class: "option-check" }, chosen.includes(option.value) && icon("check", { size: 15 }))));
        }
      }
      replaceChildren(list, rows.length ? rows : h("p", { class: "listbox-empty" }, "No match"));
      point();
    }

    function point() {
      for (const [at, node] of [...list.querySelectorAll(".option")].entries()) {
        if (at === active) {
          node.dataset.active = "true";
          node.scrollIntoView({ block: "nearest" });
        } else delete node.dataset.active;
      }
      search.setAttribute("aria-activedescendant", shown.length ? `${listId}-${active}` : "");
    }

    function pick(option) {
      if (multiple) {
        toggle(option.value);
        draw();
        return;
      }
      chosen = [option.value];
      paint();
      popover.close();
    }

    function keydown(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && shown.length) {
        event.preventDefault();
        active = (active + step + shown.length) % shown.length;
        point();
      } else if (event.key === "Enter" && shown[active]) {
        event.preventDefault();
        pick(shown[active]);
      } else if (event.key === "Tab") {
        popover.close();
      }
    }

    const start = [...all.keys()].indexOf(chosen[0]);
    if (start > 0) active = start;
    popover = openPopover(trigger, box, {
      matchWidth: true,
      onClose: () => {
        popover = null;
        trigger.setAttribute("aria-expanded", "false");
        if (chosen.join("\n") !== before) onChange(chosen);
      },
    });
    trigger.setAttribute("aria-expanded", "true");
    draw();
    search.focus({ preventScroll: true });
  }

  paint();
  /** Puts the choice back, after a refused confirmation. */
  trigger.restore = (values) => {
    chosen = values.filter((value) => all.has(value));
    paint();
  };
  return trigger;
}
