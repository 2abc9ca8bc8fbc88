/** What Slack's client itself refuses before a modal is submitted. Pure. */

const EMPTY = "Please complete this required field.";

function isEmpty(value) {
  if (!value) return true;
  const { type, ...held } = value;
  return Object.values(held).every((entry) => entry === null || entry === undefined || entry === "" || (Array.isArray(entry) && !entry.length));
}

function fault(element, value) {
  const text = value?.value ?? "";
  switch (element.type) {
    case "plain_text_input":
      if (element.min_length && text.length < element.min_length) return `This needs at least ${element.min_length} characters.`;
      if (element.max_length && text.length > element.max_length) return `This must not be longer than ${element.max_length} characters.`;
      return null;
    case "number_input": {
      const number = Number(text);
      if (!Number.isFinite(number)) return "Please enter a number.";
      if (!element.is_decimal_allowed && !Number.isInteger(number)) return "Please enter a whole number.";
      if (element.min_value !== undefined && number < Number(element.min_value)) return `This must be at least ${element.min_value}.`;
      if (element.max_value !== undefined && number > Number(element.max_value)) return `This must be at most ${element.max_value}.`;
      return null;
    }
    case "url_text_input":
      return /^https?:\/\/\S+$/i.test(text) ? null : "Please enter a valid URL.";
    case "email_text_input":
      return /^\S+@\S+\.\S+$/.test(text) ? null : "Please enter a valid email address.";
    default:
      return null;
  }
}

/** {block_id: message} for the input blocks that cannot be sent as they are. */
export function problems(blocks, form) {
  const found = {};
  for (const block of blocks) {
    if (block.type !== "input") continue;
    const value = form.get(block.block_id, block.element.action_id);
    const message = isEmpty(value) ? (block.optional ? null : EMPTY) : fault(block.element, value);
    if (message) found[block.block_id] = message;
  }
  return found;
}
