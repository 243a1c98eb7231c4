// Run in a page by tests/support/browser.py, after axe: what is wrong with the page as it stands is sent to the window around it.

/** Rules of WCAG 2.1, A and AA, that the page breaks, each with the first element that does. Frames are not entered. */
async function brokenRules() {
  axe.configure({ allowedOrigins: ["<unsafe_all_origins>"] }); // pages that are opened as files have no origin
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"];
  const result = await axe.run(document, { runOnly: tags, resultTypes: ["violations"], iframes: false });
  return result.violations.map((rule) => `${rule.id}: ${rule.nodes.length} times, first ${rule.nodes[0].html.slice(0, 120)}`);
}

/** That one has to scroll sideways, and the element that reaches farthest. */
function tooWide() {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  let farthest = document.body;
  for (const element of document.body.querySelectorAll("*")) {
    if (element.getBoundingClientRect().right > farthest.getBoundingClientRect().right) farthest = element;
  }
  return [`too wide: ${root.scrollWidth} of ${root.clientWidth} pixels, by ${farthest.outerHTML.slice(0, 80)}`];
}

/** Boxes that scroll sideways without being meant to: those that are meant to can be reached by the keyboard. */
function scrolledSideways() {
  const boxes = [...document.body.querySelectorAll("*")].filter((box) => {
    const scrolls = /^(auto|scroll)$/.test(getComputedStyle(box).overflowX);
    return scrolls && box.tabIndex < 0 && box.clientWidth > 1 && box.scrollWidth > box.clientWidth + 1;
  });
  return boxes.map((box) => `scrolls: ${box.scrollWidth} of ${box.clientWidth} pixels, ${box.outerHTML.slice(0, 80)}`);
}

/** Words of which something else stands in front: the first such thing for each line of a text. */
function coveredWords() {
  const covered = [];
  const everything = document.createElement("style");
  everything.textContent = "*{pointer-events:auto!important}"; // else nothing would be hit that the mouse passes through
  document.head.append(everything);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const words = walker.currentNode;
    const element = words.parentElement;
    if (!words.data.trim() || !isShown(element)) continue;
    element.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
    for (let index = 0; index < linesOf(words).length; index++) {
      const front = inFront(inTheMiddle(words, index), element);
      if (front) covered.push(`covered: "${words.data.trim().slice(0, 40)}" by ${front.outerHTML.slice(0, 80)}`);
    }
  }
  everything.remove();
  return covered;
}

/** The boxes of a text, one for each line that it takes. */
function linesOf(words) {
  const range = document.createRange();
  range.selectNodeContents(words);
  return [...range.getClientRects()];
}

/** Whether an element's words are meant to be seen: those for readers of the screen stand in a box of a pixel. */
function isShown(element) {
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
  for (let box = element; box && box !== document.body; box = box.parentElement) {
    const style = getComputedStyle(box);
    const clips = style.overflowX !== "visible" || style.clipPath !== "none";
    if (clips && (box.clientWidth <= 1 || box.clientHeight <= 1) && style.display !== "inline") return false;
  }
  return true;
}

/** The box of one line of a text, after it was scrolled away from the edges, where bars stand that do not scroll. */
function inTheMiddle(words, index) {
  const line = linesOf(words)[index];
  if (line.top > innerHeight / 4 && line.bottom < (3 * innerHeight) / 4) return line;
  scrollBy({ top: line.top - innerHeight / 2, behavior: "instant" });
  return linesOf(words)[index];
}

/** What is painted in front of a line of an element's words, or nothing. What is scrolled out of sight is not judged. */
function inFront(line, element) {
  const count = Math.min(Math.max(Math.round(line.width / 30), 3), 12);
  for (let index = 0; index < count; index++) {
    const x = line.left + ((index + 0.5) / count) * line.width;
    const y = line.top + line.height / 2;
    if (isScrolledAway(element, x, y)) continue;
    for (const hit of document.elementsFromPoint(x, y)) {
      if (hit === element || hit.contains(element)) break;
      if (!element.contains(hit) && isPainted(hit, x, y)) return hit;
    }
  }
  return null;
}

/** Whether a point of an element lies outside a box around it that cuts off what does not fit. */
function isScrolledAway(element, x, y) {
  for (let box = element; box && box !== document.body; box = box.parentElement) {
    const edges = box.getBoundingClientRect();
    const isInside = edges.left <= x && x <= edges.right && edges.top <= y && y <= edges.bottom;
    if (!isInside && getComputedStyle(box).overflow !== "visible") return true;
  }
  return false;
}

/** Whether an element shows something at a point: a ground, a picture, a shape, or words. Clear boxes do not. */
function isPainted(element, x, y) {
  if (!isShown(element)) return false;
  const style = getComputedStyle(element);
  if (element instanceof SVGGeometryElement) return style.fill !== "none" || style.stroke !== "none";
  if (/^(IMG|CANVAS|VIDEO|IFRAME|INPUT)$/.test(element.tagName) || style.backgroundImage !== "none") return true;
  if (!/^(transparent|rgba\(.*, 0\))$/.test(style.backgroundColor)) return true;
  const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  return texts.flatMap(linesOf).some((box) => box.left + 1 < x && x < box.right - 1 && box.top < y && y < box.bottom);
}

addEventListener("load", async () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
  await new Promise((resolve) => setTimeout(resolve, 1000)); // scripts of the page that run after it is loaded
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  let faults;
  try {
    faults = [...tooWide(), ...scrolledSideways(), ...coveredWords()];
    scrollTo(0, 0);
    faults.push(...(await brokenRules()));
  } catch (error) {
    faults = [`not judged: ${error}`];
  }
  parent.postMessage({ width: innerWidth, is_dark: isDark, faults }, "*");
});
