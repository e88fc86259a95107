// A run: how to repeat it, what it was told, where it was made, what came out and what it cost.

function runContent(its, run, full, metrics) {
  const entry = its.state.get(run.id);
  const { info, result, command } = full;
  const provenance = info.provenance ?? {};
  return [
    entry?.reason ? el("p", { class: "problem" }, entry.reason) : null,
    result?.warnings?.length ? el("section", {}, el("h3", {}, "Warnings"), el("ul", { class: "plain" }, result.warnings.map((text) => el("li", { class: "problem" }, text)))) : null,
    repeatSection(command),
    result ? resultSection(its, run, full, metrics) : null,
    el("section", {}, el("h3", {}, "What it is"), facts([
      ["Trainer", info.trainer ?? (info.control ? `none: the base model under ${info.control}` : "none: the base model")],
      ["Reward", info.reward],
      ["Seed", info.seed],
      ["Model", info.model],
      ["Benchmark", `${info.benchmark}, ${info.split} split`],
      ["Starts from", info.start && its.runById.has(info.start) ? runLink(its, info.start, nameOfRun(its.runById.get(info.start))) : info.start],
      ["Control", info.has_control_reward ? "yes: its reward must not win" : info.control],
    ])),
    Object.keys(info.config).length ? el("section", {}, el("h3", {}, "Configuration"), tree(info.config)) : null,
    el("section", {}, el("h3", {}, "Where it was made"), facts(provenancePairs(info, full, provenance))),
    el("section", {}, el("h3", {}, "Signatures of the metrics"), metrics
      .filter((metric) => full.metrics.includes(metric.name))
      .map((metric) => el("details", {}, el("summary", {}, `${metric.display} `, el("code", {}, metric.name)), tree(metric.signature)))),
  ];
}

function repeatSection(command) {
  return el(
    "section",
    { class: "repeat" },
    el("h3", {}, "Do it again"),
    block("Command", command.command, "command"),
    command.settings ? block("settings.yaml", command.settings, "settings.yaml") : null,
    command.remarks.length ? el("ul", { class: "remarks" }, command.remarks.map((text) => el("li", {}, text))) : null,
  );
}

function block(title, text, what) {
  return el(
    "figure",
    { class: "code" },
    el("figcaption", {}, title, " ", copyButton(text, what)),
    el("pre", { tabindex: "0", role: "group", "aria-label": title, class: what === "command" ? "command" : null }, el("code", {}, text)),
  );
}

function resultSection(its, run, full, metrics) {
  const { result } = full;
  const seconds = result.seconds ?? {};
  const title = (key) => metrics.find((metric) => metric.name === key)?.display ?? key;
  const decimals = (key) => its.board.columns.find((column) => column.key === key)?.decimals ?? 2;
  const health = Object.entries(result.health ?? {}).map(([key, value]) => [
    key.replaceAll("_", " "),
    isNumber(value) ? (key === "length_ratio" ? fixed(value, 2) : `${fixed(100 * value, 1)}%`) : null,
  ]);
  return el(
    "section",
    {},
    el("h3", {}, "What came out"),
    facts(Object.entries(result.metrics).map(([key, value]) => [title(key), isNumber(value) ? fixed(value, decimals(key)) : NOTHING]), "facts-list figures"),
    el("h4", {}, "Health of the outputs"),
    facts(health, "facts-list figures"),
    el("h4", {}, "Cost"),
    facts(
      [
        ...Object.entries(seconds).map(([key, value]) => [key, duration(value)]),
        ["peak memory", isNumber(result.peak_memory_bytes) ? `${fixed(result.peak_memory_bytes / 1e9, 2)} GB` : null],
        ["steps", isNumber(result.steps) ? thousands(result.steps) : null],
        ...Object.entries(result.tokens ?? {}).map(([key, value]) => [`tokens, ${key}`, thousands(value)]),
        ...Object.entries(result.usage ?? {}).map(([key, value]) => [key, thousands(value)]),
      ],
      "facts-list figures",
    ),
    result.best ? el("p", {}, `Validation chose the model after step ${result.best.step} (${result.best.metric} ${short(result.best.score)}).`) : null,
  );
}

function duration(seconds) {
  if (!isNumber(seconds)) return NOTHING;
  if (seconds < 120) return `${fixed(seconds, 1)} s`;
  if (seconds < 7200) return `${fixed(seconds / 60, 1)} min`;
  return `${fixed(seconds / 3600, 1)} h`;
}

function provenancePairs(info, full, provenance) {
  const commit = provenance.commit ? String(provenance.commit) : null;
  const dirty = commit?.endsWith("+");
  const known = new Set(["commit", "versions", "data", "model"]);
  return [
    ["Commit", commit ? [el("code", {}, commit.replace(/\+$/, "")), dirty ? " with changes that no commit holds" : " without changes"] : "not known"],
    ...Object.entries(provenance)
      .filter(([key, value]) => !known.has(key) && value !== null)
      .map(([key, value]) => [key, typeof value === "object" ? tree(value) : String(value)]),
    ["Versions", provenance.versions ? tree(provenance.versions) : null],
    ["Model", provenance.model && Object.keys(provenance.model).length ? tree(provenance.model) : null],
    ["Data", provenance.data && Object.keys(provenance.data).length ? tree(provenance.data) : null],
    ["Weights", el("code", {}, info.model_fingerprint)],
    ["Data fingerprint", el("code", {}, info.data_fingerprint)],
    ["Run id", el("code", {}, info.id)],
    ["Schema", full.schema],
    ["Folder", el("code", { class: "path" }, full.folder)],
  ];
}

/** Settings as nested lists of names and values. */
function tree(value) {
  if (value === null || value === undefined) return el("span", { class: "faint" }, "none");
  if (typeof value !== "object") return el("code", {}, String(value));
  const entries = Object.entries(value);
  if (!entries.length) return el("span", { class: "faint" }, "none");
  if (Array.isArray(value) && value.every((inner) => inner === null || typeof inner !== "object")) return el("code", {}, value.join(", "));
  return facts(entries.map(([key, inner]) => [key, tree(inner)]), "facts-list tree");
}
