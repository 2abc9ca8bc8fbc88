/** An image, as an element or as a block; its size is kept while it loads. */

import { h } from "../dom.js";

export const picture = (element, className) => h("img", {
  class: className, src: element.image_url ?? element.slack_file?.url, alt: element.alt_text ?? "", title: element.alt_text, loading: "lazy", decoding: "async",
});
