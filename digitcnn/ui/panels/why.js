// Why: the drawing with what speaks for the answer and for a rival, and what both layers see.

const SIDE = 28;
const root = element.querySelector("#panel-why");
const overlay = root.querySelector(".overlay");
const rival = root.querySelector("select");
const sentence = root.querySelector(".sentence");
const strips = [
  { canvas: root.querySelector(".first"), side: 14, across: 16, count: 32 },
  { canvas: root.querySelector(".second"), side: 7, across: 16, count: 64 },
];

for (let digit = 0; digit < 10; digit += 1) rival.append(new Option(`a ${digit}`, digit));

// Maps one after another, uint8, as rows of small pictures with a gap of one pixel.
function drawMaps({ canvas, side, across, count }, bytes) {
  const step = side + 1;
  canvas.width = across * step - 1;
  canvas.height = (count / across) * step - 1;
  const context = canvas.getContext("2d");
  context.fillStyle = "#3a4a61";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  (bytes ?? new Uint8Array(count * side * side)).forEach((value, i) => {
    const map = Math.floor(i / (side * side));
    const [row, column] = [Math.floor((i % (side * side)) / side), i % side];
    const y = Math.floor(map / across) * step + row;
    const x = (map % across) * step + column;
    image.data.set([value, value, value, 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(image, 0, 0);
}

const signed = (text) => new Int8Array(bytesOf(text).buffer);

let last = null; // the reply that is painted

function paint() {
  const context = overlay.getContext("2d");
  const size = overlay.width / SIDE;
  context.clearRect(0, 0, overlay.width, overlay.height);
  if (!last) return;
  const style = getComputedStyle(root);
  const colour = (value) => style.getPropertyValue(value > 0 ? "--for" : "--against");
  const seen = bytesOf(last.seen);
  signed(last.ink).forEach((value, i) => {
    if (seen[i] === 0) return;
    const [x, y] = [(i % SIDE) * size, Math.floor(i / SIDE) * size];
    // Grey ink below, and the colour over it as strongly as it speaks.
    context.globalAlpha = seen[i] / 255;
    context.fillStyle = style.getPropertyValue("--grey");
    context.fillRect(x, y, size, size);
    context.globalAlpha = (seen[i] / 255) * Math.min(1, Math.abs(value) / 100);
    context.fillStyle = colour(value);
    context.fillRect(x, y, size, size);
  });
  const { first, step, across } = last.grid;
  signed(last.gaps).forEach((value, i) => {
    if (value === -128 || Math.abs(value) < 16) return;
    const [row, column] = [first + step * Math.floor(i / across), first + step * (i % across)];
    context.globalAlpha = 1;
    context.fillStyle = colour(value);
    context.beginPath();
    context.arc(
      (column + 0.5) * size,
      (row + 0.5) * size,
      0.85 * size * Math.sqrt(Math.abs(value) / 127),
      0,
      2 * Math.PI
    );
    context.fill();
  });
}

const { refresh } = register({
  name: "why",
  ask: (payload) =>
    call("why", { ...payload, rival: rival.value === "" ? null : Number(rival.value) }),
  show: (reply, answer) => {
    last = reply;
    paint();
    sentence.textContent = answer?.refused
      ? `No digit, closest: ${reply.sentence[0].toLowerCase()}${reply.sentence.slice(1)}`
      : reply.sentence;
    strips.forEach((strip, i) => drawMaps(strip, bytesOf(reply.maps[i])));
  },
  clear: () => {
    last = null;
    paint();
    sentence.textContent = "Draw a digit to see what speaks for it.";
    strips.forEach((strip) => drawMaps(strip, null));
  },
});

rival.addEventListener("change", refresh);
new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
