/** An image, as an element or as a block; its size is kept while it loads. */

import { h } from "../dom.js";

// A file's address at Slack is not for everyone to open, so a block may name its id alone.
const source = ({ image_url, slack_file }) =>
  image_url ?? slack_file?.url ?? (slack_file?.id && `/ui/files/${encodeURIComponent(slack_file.id)}`);

export const picture = (element, className) => h("img", {
  class: className, src: source(element), alt: element.alt_text ?? "", title: element.alt_text, loading: "lazy", decoding: "async",
});
