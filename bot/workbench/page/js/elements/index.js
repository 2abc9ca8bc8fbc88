/** Which function draws which Block Kit element. */

import { button } from "./button.js";
import { checkboxes, radioButtons } from "./choices.js";
import { datepicker, datetimepicker, timepicker } from "./dates.js";
import { emailInput, numberInput, plainTextInput, urlInput } from "./inputs.js";
import { h } from "../dom.js";
import { overflow } from "./overflow.js";
import { picture } from "./picture.js";
import { SELECTS } from "./selects.js";

const ELEMENTS = {
  ...SELECTS,
  button,
  workflow_button: button,
  icon_button: button,
  checkboxes,
  radio_buttons: radioButtons,
  datepicker,
  timepicker,
  datetimepicker,
  overflow,
  plain_text_input: plainTextInput,
  number_input: numberInput,
  url_text_input: urlInput,
  email_text_input: emailInput,
  image: (element) => picture(element, "element-image"),
};

/** The node of one element; an element this page cannot draw says so instead of vanishing. */
export function drawElement(element, block, ctx) {
  const draw = ELEMENTS[element.type];
  return draw ? draw(element, block, ctx) : h("span", { class: "unknown" }, `${element.type} is not shown here`);
}
