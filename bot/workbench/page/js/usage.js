/** Reads a slash command's usage hint: `declare <title> | sev <1-4> | ack` are three sub-words with their hints. */

const OPEN = "[<({";
const CLOSE = "]>)}";

/** Splits at the bars that stand outside of brackets. */
function alternatives(hint) {
  const parts = [""];
  let depth = 0;
  for (const character of hint) {
    if (OPEN.includes(character)) depth += 1;
    if (CLOSE.includes(character)) depth -= 1;
    if (character === "|" && depth <= 0) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim()).filter(Boolean);
}

/** [{word, hint}]; brackets around the whole hint do not count. */
export function subWords(usageHint) {
  let hint = (usageHint ?? "").trim();
  if (/^\[[^[\]]*\|[^[\]]*\]$/.test(hint)) hint = hint.slice(1, -1);
  return alternatives(hint).map((part) => {
    const [word, ...rest] = part.split(/\s+/);
    return { word: word.replace(/^[[<({]|[\]>)}]$/g, ""), hint: rest.join(" ") };
  }).filter((entry) => /^[a-z][\w-]*$/i.test(entry.word));
}
