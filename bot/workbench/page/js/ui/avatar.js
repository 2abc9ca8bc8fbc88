/** The face of a person (initials on a colour of their own) or of the bot (our mark). */

import { h } from "../dom.js";
import { mark } from "../icons.js";

const HUES = 8;

export function initials(name) {
  const parts = name.trim().split(/\s+/);
  return ((parts[0]?.[0] ?? "?") + (parts.length > 1 ? parts.at(-1)[0] : "")).toUpperCase();
}

function hue(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return sum % HUES;
}

export function avatar(user, size = 36) {
  const vars = { "--size": `${size}px` };
  if (user?.is_bot) return h("span", { class: "avatar avatar-bot", vars, "aria-hidden": "true" }, mark(size));
  const name = user?.real_name || user?.name || "?";
  if (/^#?[0-9a-f]{6}$/i.test(user?.color ?? "")) vars["--face"] = `#${user.color.replace("#", "")}`;
  return h("span", { class: `avatar hue-${hue(user?.id ?? name)}`, vars, "aria-hidden": "true" }, initials(name));
}
