// From the 28x28 to ten probabilities: the network in plain JavaScript, float32, one image at a
// time. Its batch norms are part of the convolutions already.
//
//   input 1x28x28
//   conv 3x3, 32 -> max pool 2 -> ReLU   32x14x14
//   conv 3x3, 64 -> max pool 2 -> ReLU   64x7x7
//   flatten 3136 -> linear 320 -> ReLU -> linear 10
//
// and beside it, on the same 3136, the small head that rejects non-digits.

/** @typedef {Record<string, Float32Array>} Tensors */

/**
 * Reads the tensors by name from float16 in base64.
 * @param {{ name: string, count: number, scale: number }[]} table in the order of the data
 * @param {string} base64
 */
export function readTensors(table, base64) {
  const text = atob(base64.trim());
  let at = 0;
  /** @type {Tensors} */
  const tensors = {};
  for (const { name, count, scale } of table) {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i += 1, at += 2) {
      values[i] = scale * fromHalf(text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8));
    }
    tensors[name] = values;
  }
  return tensors;
}

/** Returns the value of a finite float16. @param {number} bits */
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

/**
 * @typedef {{ inputMean: number, inputStd: number, temperature: number | null,
 *   threshold: number | null }} Model
 * temperature, threshold: null where the checkpoint has no calibration, no OOD detector
 */

/**
 * Returns the ten logits and, with the temperature applied, the ten probabilities, the most
 * probable digit, and whether it is a digit: null without an OOD detector.
 * @param {ArrayLike<number>} pixels 784, 0 to 255, ink high
 * @param {Model} model
 * @param {Tensors} tensors
 */
export function classify(pixels, model, tensors) {
  const input = Float32Array.from(pixels, (pixel) => (pixel - model.inputMean) / model.inputStd);
  const block1 = block(input, 28, tensors["conv1.weight"], tensors["conv1.bias"]);
  const block2 = block(block1, 14, tensors["conv2.weight"], tensors["conv2.bias"]);
  const features = linear(block2, tensors["hidden.weight"], tensors["hidden.bias"]);
  for (let i = 0; i < features.length; i += 1) features[i] = Math.max(0, features[i]);
  const logits = linear(features, tensors["output.weight"], tensors["output.bias"]);
  const probabilities = softmax(logits, model.temperature ?? 1);
  const digit = probabilities.indexOf(Math.max(...probabilities));
  return { logits, probabilities, digit, isDigit: passes(block2, model, tensors) };
}

/**
 * Returns whether the log odds of "some digit" against "not a digit" reach the threshold.
 * @param {Float32Array} maps
 * @param {Model} model
 * @param {Tensors} tensors
 */
function passes(maps, { threshold }, tensors) {
  if (threshold === null) return null;
  const hidden = linear(maps, tensors["ood.hidden.weight"], tensors["ood.hidden.bias"]);
  for (let i = 0; i < hidden.length; i += 1) hidden[i] = Math.max(0, hidden[i]);
  const logits = linear(hidden, tensors["ood.output.weight"], tensors["ood.output.bias"]);
  const [digits, none] = [logits.subarray(0, 10), logits[10]];
  const most = Math.max(...digits);
  const sum = digits.reduce((total, logit) => total + Math.exp(logit - most), 0);
  return most + Math.log(sum) - none >= threshold;
}

/**
 * Applies a 3x3 convolution with zero padding, a 2x2 max pool and ReLU.
 * @param {Float32Array} maps [channels, side, side]
 * @param {number} side
 * @param {Float32Array} weights [outputs, channels, 3, 3]
 * @param {Float32Array} bias [outputs]
 * @returns [outputs, side / 2, side / 2]
 */
function block(maps, side, weights, bias) {
  const area = side * side;
  const channels = maps.length / area;
  const padded = pad(maps, channels, side);
  const sums = new Float32Array(area);
  const half = side / 2;
  const pooled = new Float32Array(bias.length * half * half);
  for (let output = 0; output < bias.length; output += 1) {
    sums.fill(bias[output]);
    for (let channel = 0; channel < channels; channel += 1) {
      const filter = 9 * (output * channels + channel);
      addFiltered(sums, side, padded, channel, weights, filter);
    }
    for (let y = 0; y < half; y += 1) {
      for (let x = 0; x < half; x += 1) {
        const at = 2 * (y * side + x);
        const most = Math.max(sums[at], sums[at + 1], sums[at + side], sums[at + side + 1]);
        pooled[(output * half + y) * half + x] = Math.max(0, most);
      }
    }
  }
  return pooled;
}

/** @param {Float32Array} maps @param {number} channels @param {number} side */
function pad(maps, channels, side) {
  const wide = side + 2;
  const padded = new Float32Array(channels * wide * wide);
  for (let row = 0; row < channels * side; row += 1) {
    const [channel, y] = [Math.floor(row / side), row % side];
    padded.set(maps.subarray(row * side, (row + 1) * side), (channel * wide + y + 1) * wide + 1);
  }
  return padded;
}

/**
 * Adds one 3x3 filter over one padded map to `sums`: the innermost loop.
 * @param {Float32Array} sums
 * @param {number} side
 * @param {Float32Array} padded
 * @param {number} channel
 * @param {Float32Array} weights
 * @param {number} filter where the filter begins in `weights`
 */
function addFiltered(sums, side, padded, channel, weights, filter) {
  const a = weights[filter],
    b = weights[filter + 1],
    c = weights[filter + 2];
  const d = weights[filter + 3],
    e = weights[filter + 4],
    f = weights[filter + 5];
  const g = weights[filter + 6],
    h = weights[filter + 7],
    i = weights[filter + 8];
  const wide = side + 2;
  for (let y = 0; y < side; y += 1) {
    let p = (channel * wide + y) * wide;
    let q = p + wide;
    let r = q + wide;
    for (let at = y * side; at < (y + 1) * side; at += 1, p += 1, q += 1, r += 1) {
      sums[at] +=
        a * padded[p] +
        b * padded[p + 1] +
        c * padded[p + 2] +
        d * padded[q] +
        e * padded[q + 1] +
        f * padded[q + 2] +
        g * padded[r] +
        h * padded[r + 1] +
        i * padded[r + 2];
    }
  }
}

/**
 * @param {Float32Array} inputs
 * @param {Float32Array} weights [outputs, inputs], row by row
 * @param {Float32Array} bias
 */
function linear(inputs, weights, bias) {
  return bias.map((start, output) => {
    let sum = start;
    let at = output * inputs.length;
    for (let i = 0; i < inputs.length; i += 1, at += 1) sum += weights[at] * inputs[i];
    return sum;
  });
}

/** @param {Float32Array} logits @param {number} temperature */
function softmax(logits, temperature) {
  const most = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}
