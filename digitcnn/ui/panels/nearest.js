// Nearest training digits: nine pictures with their labels and distances.

const NINE = 9;
const list = element.querySelector("#panel-nearest .neighbours");
const agree = element.querySelector("#panel-nearest .agree");

const slots = Array.from({ length: NINE }, () => {
  const item = make("li");
  const canvas = make("canvas");
  const [label, distance] = [make("span", "label", "–"), make("span", "distance", "–")];
  [canvas.width, canvas.height] = [28, 28];
  item.append(canvas, label, distance);
  list.append(item);
  return { item, canvas, label, distance };
});

function fill({ item, canvas, label, distance }, found, digit) {
  const context = canvas.getContext("2d");
  if (found) drawGrey(context, bytesOf(found.image), 28);
  else context.clearRect(0, 0, 28, 28);
  label.textContent = found ? found.label : "–";
  distance.textContent = found ? found.distance.toPrecision(2) : "–";
  item.classList.toggle("other", Boolean(found) && found.label !== digit);
  item.title = found ? `Training image ${found.place}, labelled ${found.label}` : "";
}

register({
  name: "nearest",
  show: ({ digit, digits, of, set }, answer) => {
    slots.forEach((slot, i) => fill(slot, digits[i], digit));
    const same = digits.filter(({ label }) => label === digit).length;
    agree.textContent =
      `${same} of the ${digits.length} nearest among ${of.toLocaleString("en")} images of ${set} ` +
      `agree with the ${answer?.refused ? "closest digit" : "answer"} ${digit}.`;
  },
  clear: () => {
    slots.forEach((slot) => fill(slot, null, null));
    agree.textContent = "Draw a digit to see its nearest.";
  },
});
