/** Mouse, touch, wheel and keys on the map. */

const STILL = 5; // CSS pixels that a click may move
const PAN_KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{pan: (right: number, down: number) => void, zoom: (factor: number, x?: number, y?: number) => void,
 *   all: () => void, point: (x: number, y: number) => void, away: () => void, pick: (x: number, y: number) => void,
 *   step: (down: number, right: number) => void, leave: () => void}} does CSS pixels from the canvas's corner
 */
export function listen(canvas, does) {
  const fingers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) || 1 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    canvas.setPointerCapture(event.pointerId);
    moved = fingers.size > 1 ? STILL + 1 : 0;
  });

  canvas.addEventListener("pointermove", (event) => {
    does.point(event.offsetX, event.offsetY);
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const before = fingers.size > 1 ? spread() : null, [right, down] = [event.offsetX - finger.x, event.offsetY - finger.y];
    Object.assign(finger, { x: event.offsetX, y: event.offsetY });
    moved += Math.hypot(right, down);
    if (before) {
      const now = spread();
      does.pan(now.x - before.x, now.y - before.y);
      does.zoom(now.distance / before.distance, now.x, now.y);
    } else if (moved > STILL) does.pan(right, down);
  });

  const lift = (event) => {
    const was = fingers.delete(event.pointerId);
    if (was && event.type === "pointerup" && moved <= STILL) does.pick(event.offsetX, event.offsetY);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", does.away);

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    does.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX, event.offsetY);
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = PAN_KEYS[event.key];
    if (arrow) does.step(arrow[0], arrow[1]);
    else if (event.key === "+" || event.key === "=") does.zoom(1.5);
    else if (event.key === "-") does.zoom(1 / 1.5);
    else if (event.key === "0") does.all();
    else if (event.key === "Escape") does.leave();
    else return;
    event.preventDefault();
  });
}
