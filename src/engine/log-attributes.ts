import { hostname } from "node:os";
import { GantryError } from "#base/errors.ts";
import type { Container } from "./container.ts";

const invalid = (message: string): GantryError => new GantryError("invalid", message);

const words = (list: string | undefined): string[] => (list ?? "").split(",").filter((each) => each !== "");

function pattern(source: string | undefined): RegExp | undefined {
  if (source === undefined || source === "") return undefined;
  try {
    return new RegExp(source);
  } catch (cause) {
    throw new GantryError("invalid", `error parsing regexp: ${(cause as Error).message}`, { cause });
  }
}

/**
 * What `docker logs --details` shows before each line, by key: the labels and variables that the log options choose,
 * and the tag (moby, daemon/logger/loginfo.go). Throws `invalid` for options that cannot be understood.
 */
export function logAttributes(container: Container): [key: string, value: string][] {
  const { hostConfig, record } = container;
  if (hostConfig.LogConfig?.Type !== "json-file") return [];
  const options = hostConfig.LogConfig.Config ?? {};
  const out = new Map<string, string>();
  const choose = (from: ReadonlyMap<string, string>, names: string | undefined, regex: RegExp | undefined): void => {
    for (const name of words(names)) if (from.has(name)) out.set(name, from.get(name) as string);
    if (regex !== undefined) for (const [name, value] of from) if (regex.test(name)) out.set(name, value);
  };
  const variables = new Map<string, string>();
  for (const variable of record.Config.Env ?? []) {
    const equals = variable.indexOf("=");
    if (equals > 0) variables.set(variable.slice(0, equals), variable.slice(equals + 1));
  }
  choose(new Map(Object.entries(record.Config.Labels ?? {})), options["labels"], pattern(options["labels-regex"]));
  choose(variables, options["env"], pattern(options["env-regex"]));
  const tag = logTag(container, options["tag"] ?? "");
  if (tag !== "") out.set("tag", tag);
  return [...out].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What a tag's template may name (moby, daemon/logger/loginfo.go: the fields and methods of Info that are text). */
function tagFields(container: Container): Record<string, string> {
  const { record } = container;
  const image = record.Image;
  const name = record.Name.replace(/^\//, "");
  return {
    ID: container.id.slice(0, 12),
    FullID: container.id,
    Name: name,
    ImageID: image.slice(0, 12),
    ImageFullID: image,
    ImageName: record.Config.Image ?? "",
    DaemonName: "docker",
    Command: [record.Path, ...record.Args].join(" "),
    Hostname: hostname(),
    ContainerID: container.id,
    ContainerName: record.Name,
    ContainerImageID: image,
    ContainerImageName: record.Config.Image ?? "",
    ContainerEntrypoint: record.Path,
    LogPath: record.LogPath,
  };
}

const functions: Record<string, (text: string) => string> = {
  lower: (text) => text.toLowerCase(),
  upper: (text) => text.toUpperCase(),
  json: (text) => JSON.stringify(text),
  title: (text) => text.replace(/(^|\s)\S/g, (first) => first.toUpperCase()),
};

const unsupported = (action: string): GantryError =>
  invalid(`template: log-tag:1: {{${action}}} is not supported in a log tag`);

/**
 * A tag with its `{{…}}` filled in: fields, labels by `index .ContainerLabels "key"`, and the functions that take one
 * text. Throws `invalid` for anything else, in the words of Go's templates where they have some.
 */
export function logTag(container: Container, template: string): string {
  const fields = tagFields(container);
  const labels = container.record.Config.Labels ?? {};
  let at = 0;
  let out = "";
  while (at < template.length) {
    const open = template.indexOf("{{", at);
    if (open < 0) break;
    const close = template.indexOf("}}", open);
    if (close < 0) throw invalid("template: log-tag:1: unclosed action");
    out += template.slice(at, open);
    const action = template
      .slice(open + 2, close)
      .replace(/^-\s|\s-$/g, "")
      .trim();
    const label = /^index \.ContainerLabels "([^"]*)"$/.exec(action);
    const field = /^(?:([a-z]+) )?\.([A-Za-z]+)$/.exec(action);
    if (label !== null) out += labels[label[1] as string] ?? "";
    else if (field !== null) {
      const [, name, key] = field as unknown as [string, string | undefined, string];
      const apply = name === undefined ? (text: string) => text : functions[name];
      const value = Object.hasOwn(fields, key) ? fields[key] : undefined;
      if (apply === undefined) throw unsupported(action);
      if (value === undefined)
        throw invalid(
          `template: log-tag:1:${open + 2}: executing "log-tag" at <.${key}>: can't evaluate field ${key} in type *logger.Info`,
        );
      out += apply(value);
    } else throw unsupported(action);
    at = close + 2;
  }
  return out + template.slice(at);
}
