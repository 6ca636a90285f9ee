// Why: what both convolution layers see.

const strips = [
  { canvas: element.querySelector("#panel-why .first"), side: 14, across: 16 },
  { canvas: element.querySelector("#panel-why .second"), side: 7, across: 32 },
];

// Maps one after another, uint8, as rows of small pictures with a gap of one pixel.
function drawMaps({ canvas, side, across }, bytes) {
  const count = bytes ? bytes.length / (side * side) : across * 2;
  const step = side + 1;
  canvas.width = across * step - 1;
  canvas.height = Math.ceil(count / across) * step - 1;
  if (!bytes) return;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < bytes.length; i += 1) {
    const map = Math.floor(i / (side * side));
    const [row, column] = [Math.floor((i % (side * side)) / side), i % side];
    const y = Math.floor(map / across) * step + row;
    const x = (map % across) * step + column;
    image.data.set([bytes[i], bytes[i], bytes[i], 255], 4 * (y * canvas.width + x));
  }
  context.putImageData(image, 0, 0);
}

register({
  name: "why",
  show: ({ maps }) => strips.forEach((strip, i) => drawMaps(strip, bytesOf(maps[i]))),
  clear: () => strips.forEach((strip) => drawMaps(strip, null)),
});
