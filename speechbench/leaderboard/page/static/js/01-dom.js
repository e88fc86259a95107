// Elements from data. Texts only ever become text nodes: outputs, labels and paths are not ours.

/**
 * Makes an element.
 * @param {string} tag
 * @param {Object} [properties] attributes; `class`, `on` (listeners by event), true for an empty attribute,
 *     null, undefined and false for none.
 * @param {...(Node|string|number|null|Array)} children
 */
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value === true) {
      node.setAttribute(key, "");
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(key, String(value));
    }
  }
  node.append(...given(children));
  return node;
}

/** Children as they are appended: lists opened up, without what is not there. */
const given = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** Puts these in place of all that an element holds. */
const fill = (node, ...children) => node.replaceChildren(...given(children));

const byId = (id) => document.getElementById(id);

/** Text for screen readers alone. */
const unseen = (text) => el("span", { class: "unseen" }, text);

/** Says something to screen readers, politely. */
function announce(text) {
  byId("announcer").textContent = text;
}

/** A select with its label; options are [value, text] or {group, options}. */
function select(label, options, value, change) {
  const option = ([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text);
  const made = el(
    "select",
    { on: { change: (event) => change(event.target.value) } },
    options.map((its) =>
      Array.isArray(its) ? option(its) : el("optgroup", { label: its.group }, its.options.map(option)),
    ),
  );
  return el("label", { class: "field" }, `${label} `, made);
}

/** A checkbox with its label. */
function check(label, checked, change) {
  const box = el("input", { type: "checkbox", on: { change: (event) => change(event.target.checked) } });
  box.checked = checked;
  return el("label", { class: "check" }, box, " ", label);
}

/** A field of text with its label; `change` is called when typing pauses. */
function textField(label, value, change, type = "search") {
  let timer = 0;
  const input = el("input", {
    type,
    value,
    autocomplete: "off",
    spellcheck: "false",
    on: {
      input: () => {
        clearTimeout(timer);
        timer = setTimeout(() => change(input.value), 200);
      },
    },
  });
  return el("label", { class: "field" }, `${label} `, input);
}

/** Names and what is to be said of each; pairs without a value are left out. */
function facts(pairs, kind = "facts-list") {
  return el(
    "dl",
    { class: kind },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** A table in a box that scrolls by itself, so that the page never does. */
function scrolling(table, label) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
}

/** Controls, which a narrow screen shows when asked to. */
function foldable(name, controls) {
  const wide = matchMedia("(min-width: 40.01rem)");
  const made = el("details", { class: "fold", open: wide.matches }, el("summary", {}, name), controls);
  wide.addEventListener("change", () => (made.open = wide.matches));
  return made;
}

/** A button that copies a text, and says so. */
function copyButton(text, what) {
  const button = el("button", { type: "button", class: "quiet" }, "Copy ", unseen(what));
  button.addEventListener("click", async () => {
    const done = await copied(text);
    button.firstChild.textContent = done ? "Copied " : "Not copied ";
    announce(done ? `${what} copied` : "copying is not allowed here: select the text");
    setTimeout(() => (button.firstChild.textContent = "Copy "), 2000);
  });
  return button;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "unseen", "aria-hidden": "true", tabindex: "-1" });
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    let done = false;
    try {
      done = document.execCommand("copy"); // where there is no clipboard for a file
    } catch {
      done = false;
    }
    area.remove();
    focused?.focus();
    return done;
  }
}
