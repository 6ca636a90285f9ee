// On a narrow page the model chip has no room for its whole text. page.css shows a shorter one over
// the input: the name, which may be cut, and the accuracy, which may not.

const EACH = 200; // milliseconds between two looks at the label

/**
 * Divides a label of the selector into the name and the rest, in which the test set is left out.
 * @param {string} label such as "mine · 99.10% on MNIST test"
 */
function shortened(label) {
  const [, name = "", rest = ""] = /^(.*?)( · .*)?$/.exec(label) ?? [];
  return [name, rest.replace(/% on (?!held-out)[^·(]*?(?= [·(]|$)/, "%")];
}

let shown = "";

function show() {
  const input = /** @type {HTMLInputElement | null} */ (
    document.querySelector("#model-select input")
  );
  if (!input?.value || input.value === shown) return;
  shown = input.value;
  const [name, rest] = shortened(shown);
  const { style } = document.documentElement;
  // A string of JSON is one of CSS.
  style.setProperty("--model-name", JSON.stringify(name));
  style.setProperty("--model-rest", JSON.stringify(rest));
  style.setProperty("--model-input", "0");
}

// Gradio sets the value as a property, at times long after the choice (as when the input loses the
// focus), and no event tells of that.
setInterval(show, EACH);
