// Pictures on the pad: reading a file, and showing what was taken for ink.

const SIDE = 1280; // pictures are reduced to this many pixels before they are sent
const QUALITY = 0.92;
const MOST_BYTES = 40e6;

/** @typedef {[number, number, number, number]} Box left, top, width and height in pixels */
/** @typedef {{ canvas: HTMLCanvasElement, content: string }} Picture content: a file in base64 */

/**
 * Reads an image file as the browser shows it. Throws an Error with a sentence for people.
 * @param {File} file
 * @returns {Promise<Picture>}
 */
export async function readPicture(file) {
  if (file.size > MOST_BYTES) {
    throw new Error("The picture is larger than 40 MB; save a smaller one.");
  }
  try {
    const whole = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, SIDE / Math.max(whole.width, whole.height));
    const size = [whole.width, whole.height].map((side) => Math.max(1, Math.round(side * scale)));
    const { canvas, pen } = blank(size[0], size[1]);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    // Keeps transparency, unlike JPEG; a browser that cannot write it writes PNG.
    return { canvas, content: canvas.toDataURL("image/webp", QUALITY).split(",")[1] };
  } catch {
    throw new Error("The browser cannot read this image; use a PNG, JPEG, WebP, BMP or GIF file.");
  }
}

/**
 * Draws a picture with its ink in colour, and a box around each digit of a number.
 * @param {HTMLCanvasElement} picture
 * @param {string} ink address of an image that is clear where there is none
 * @param {Box[]} boxes
 * @param {string} colour
 */
export async function withInk(picture, ink, boxes, colour) {
  const stencil = new Image();
  stencil.src = ink;
  await stencil.decode();
  const { width, height } = picture;
  const tinted = blank(width, height);
  tinted.pen.drawImage(stencil, 0, 0, width, height);
  tinted.pen.globalCompositeOperation = "source-in";
  tinted.pen.fillStyle = colour;
  tinted.pen.fillRect(0, 0, width, height);
  const { canvas, pen } = blank(width, height);
  pen.globalAlpha = 0.55;
  pen.drawImage(picture, 0, 0);
  pen.globalAlpha = 1;
  pen.drawImage(tinted.canvas, 0, 0);
  pen.strokeStyle = colour;
  pen.lineWidth = Math.max(width, height) / 250;
  for (const [left, top, across, down] of boxes) pen.strokeRect(left, top, across, down);
  return canvas;
}

/** @param {number} width @param {number} height */
function blank(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return { canvas, pen: /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")) };
}
