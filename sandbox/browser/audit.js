// What keeps people from reading or operating a page, as a list of sentences.
(() => {
  const found = [];
  const say = (what, element) => found.push(element ? `${what}: ${element.outerHTML.replace(/\s+/g, " ").slice(0, 140)}` : what);
  const all = selector => [...document.querySelectorAll(selector)];
  const shown = e => {
    const style = getComputedStyle(e);
    return e.checkVisibility({ checkVisibilityCSS: true }) && style.visibility !== "hidden";
  };
  const words = text => (text || "").replace(/\s+/g, " ").trim();
  const spoken = e => {
    const copy = e.cloneNode(true);
    for (const hidden of copy.querySelectorAll("[aria-hidden=true]")) hidden.remove();
    return words(copy.textContent);
  };

  // The document.
  if (!document.documentElement.lang) say("the page has no language");
  if (!words(document.title)) say("the page has no title");
  if (!document.querySelector("meta[name=viewport]")) say("the page does not say how wide it is");
  if (/user-scalable\s*=\s*no|maximum-scale/.test(document.querySelector("meta[name=viewport]")?.content)) say("the page cannot be enlarged");

  // Landmarks and headings.
  for (const [name, selector] of [["main", "main"], ["header", "body > header"], ["navigation", "header nav"]]) {
    if (all(selector).length !== 1) say(`there are ${all(selector).length} landmarks ${name}`);
  }
  for (const nav of all("nav, [role=search], [role=region]")) {
    if (!name(nav)) say("a landmark has no name", nav);
  }
  const headings = all("h1, h2, h3, h4, h5, h6").filter(shown);
  if (headings.filter(h => h.tagName === "H1").length !== 1) say("there is not exactly one first heading");
  let level = 0;
  for (const h of headings) {
    const next = Number(h.tagName[1]);
    if (next > level + 1) say("a heading skips a level", h);
    if (!spoken(h)) say("a heading is empty", h);
    level = next;
  }
  const first = document.querySelector("a[href], button, input, select, summary");
  if (!first?.matches("a.skip") || !document.querySelector(first.getAttribute("href"))) say("the first thing to reach does not skip to the content");

  // Ids and what refers to them.
  const ids = new Set();
  for (const e of all("[id]")) {
    if (ids.has(e.id)) say("an id is given twice", e);
    ids.add(e.id);
  }
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls", "for", "list"]) {
    for (const e of all(`[${attribute}]`)) {
      for (const id of e.getAttribute(attribute).split(/\s+/)) if (!ids.has(id)) say(`${attribute} refers to nothing`, e);
    }
  }

  // Names of what can be operated.
  function name(e) {
    const label = words(e.getAttribute("aria-label"));
    if (label) return label;
    const by = e.getAttribute("aria-labelledby");
    if (by) return words(by.split(/\s+/).map(id => spoken(document.getElementById(id) ?? document.createElement("i"))).join(" "));
    if (e.labels?.length) return words([...e.labels].map(spoken).join(" "));
    if (e.matches("button, a, summary")) return spoken(e);
    return words(e.title);
  }
  const controls = all("a[href], button, input:not([type=hidden]), select, textarea, summary, iframe").filter(shown);
  for (const e of controls) {
    if (!name(e)) say("a control has no name", e);
    if (e.tabIndex > 0) say("a control changes the order of focus", e);
    const box = e.getBoundingClientRect();
    const inline = e.matches("a") && getComputedStyle(e).display === "inline";
    if (!inline && !e.matches(".skip, iframe, [type=checkbox]") && box.height < 24) say(`a control is only ${box.height} px high`, e);
  }
  const names = new Map();
  for (const e of all("main button").filter(shown)) {
    const form = e.form ? new URLSearchParams(new FormData(e.form, e)).toString() + e.form.action : "";
    const key = name(e);
    if (names.has(key) && names.get(key) !== form) say("two buttons have one name and do different things", e);
    names.set(key, form);
  }
  for (const e of all("img")) if (!e.hasAttribute("alt")) say("a picture has no text", e);

  // Tables.
  for (const table of all("main table")) {
    if (!spoken(table.caption ?? document.createElement("i"))) say("a table has no caption", table);
    for (const th of table.querySelectorAll("th")) if (!th.scope) say("a heading of a table has no scope", th);
  }

  // Contrast, computed from the colours as they are shown.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = e => {
    const layers = [];
    for (let p = e; p; p = p.parentElement) layers.push(rgba(getComputedStyle(p).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = colour => {
    const [r, g, b] = colour.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  for (const e of all("body *").filter(shown)) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && words(n.textContent)) || e.matches("input:not([type=checkbox], [type=hidden]), select");
    if (!own || e.matches(":disabled, :disabled *")) continue;
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const back = behind(e);
    const ratio = contrast(over(rgba(style.color), back), back);
    if (ratio < needed) say(`contrast of text ${ratio.toFixed(2)}`, e);
    if (e.matches("input, select")) {
      const edge = contrast(over(rgba(style.borderTopColor), back), behind(e.parentElement));
      if (edge < 3) say(`contrast of an edge ${edge.toFixed(2)}`, e);
    }
  }

  // Width: the page itself never scrolls sideways.
  if (document.documentElement.scrollWidth > innerWidth) {
    say(`the page is ${document.documentElement.scrollWidth} px wide, and the window ${innerWidth}`);
    for (const e of all("main *").filter(shown)) {
      if (e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, .visually-hidden")) { say("this is too wide", e); break; }
    }
  }
  return found;
})()
