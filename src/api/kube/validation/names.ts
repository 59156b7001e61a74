import { isIP } from "node:net";

/** The forms of names in Kubernetes; each function gives what is wrong, in upstream's words, or nothing. */

function regexText(message: string, pattern: string, ...examples: string[]): string {
  if (examples.length === 0) return `${message} (regex used for validation is '${pattern}')`;
  const shown = examples.map((example) => `'${example}', `).join(" or ");
  return `${message} (e.g. ${shown}regex used for validation is '${pattern}')`;
}

export const maxLength = (limit: number): string => `must be no more than ${limit} characters`;
/** As the newer rules of labels say it. */
const maxBytes = (limit: number): string => `must be no more than ${limit} bytes`;
export const inclusiveRange = (low: number, high: number): string => `must be between ${low} and ${high}, inclusive`;

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const subdomain = `${label}(\\.${label})*`;
const label1035 = "[a-z]([-a-z0-9]*[a-z0-9])?";
const labelKey = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const labelValue = `(${labelKey})?`;
const configKey = "[-._a-zA-Z0-9]+";
const headerName = "[-A-Za-z0-9]+";

const exactly = (pattern: string): RegExp => new RegExp(`^(?:${pattern})$`);
const labelPattern = exactly(label);
const subdomainPattern = exactly(subdomain);
const label1035Pattern = exactly(label1035);
const labelKeyPattern = exactly(labelKey);
const labelValuePattern = exactly(labelValue);
const configKeyPattern = exactly(configKey);
const headerPattern = exactly(headerName);

export function dnsLabel(value: string): string[] {
  const out: string[] = [];
  if (value.length > 63) out.push(maxLength(63));
  if (!labelPattern.test(value)) {
    if (subdomainPattern.test(value)) out.push("must not contain dots");
    else
      out.push(
        regexText(
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
          label,
          "my-name",
          "123-abc",
        ),
      );
  }
  return out;
}

export function dnsSubdomain(value: string): string[] {
  const out: string[] = [];
  if (value.length > 253) out.push(maxLength(253));
  if (!subdomainPattern.test(value))
    out.push(
      regexText(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        subdomain,
        "example.com",
      ),
    );
  return out;
}

export function dns1035Label(value: string): string[] {
  const out: string[] = [];
  if (value.length > 63) out.push(maxLength(63));
  if (!label1035Pattern.test(value))
    out.push(
      regexText(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
        label1035,
        "my-name",
        "abc-123",
      ),
    );
  return out;
}

/** Names that are only a part of a path: roles and their bindings, cluster roles. */
export function pathSegment(value: string): string[] {
  if (value === "." || value === "..") return [`may not be '${value}'`];
  const out: string[] = [];
  for (const illegal of ["/", "%"]) if (value.includes(illegal)) out.push(`may not contain '${illegal}'`);
  return out;
}

/** A label's or annotation's key, a finalizer's name. */
export function qualifiedName(value: string): string[] {
  const wording = regexText(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    labelKey,
    "MyName",
    "my.name",
    "123-abc",
  );
  const parts = value.split("/");
  if (parts.length > 2)
    return [`a valid label key ${wording} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  const out: string[] = [];
  const [prefix, name] = parts.length === 2 ? (parts as [string, string]) : [undefined, value];
  if (prefix === "") out.push("prefix part must be non-empty");
  else if (prefix !== undefined) for (const message of dnsSubdomain(prefix)) out.push(`prefix part ${message}`);
  if (name === "") out.push("name part must be non-empty");
  else if (name.length > 63) out.push(`name part ${maxBytes(63)}`);
  if (!labelKeyPattern.test(name)) out.push(`name part ${wording}`);
  return out;
}

export function labelValueForm(value: string): string[] {
  const out: string[] = [];
  if (value.length > 63) out.push(maxBytes(63));
  if (!labelValuePattern.test(value))
    out.push(
      regexText(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        labelValue,
        "MyValue",
        "my_value",
        "12345",
      ),
    );
  return out;
}

/** A key of a ConfigMap or Secret. */
export function configMapKey(value: string): string[] {
  const out: string[] = [];
  if (value.length > 253) out.push(maxLength(253));
  if (!configKeyPattern.test(value))
    out.push(
      regexText(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        configKey,
        "key.name",
        "KEY_NAME",
        "key-name",
      ),
    );
  if (value === ".") out.push("must not be '.'");
  else if (value === "..") out.push("must not be '..'");
  else if (value.startsWith("..")) out.push("must not start with '..'");
  return out;
}

export function envVarName(value: string): string[] {
  return /^[\x20-\x3c\x3e-\x7e]+$/.test(value)
    ? []
    : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

export function httpHeaderName(value: string): string[] {
  return headerPattern.test(value)
    ? []
    : [regexText("a valid HTTP header must consist of alphanumeric characters or '-'", headerName, "X-Header-Name")];
}

export function portNumber(value: unknown): string[] {
  return typeof value === "number" && value >= 1 && value <= 65535 ? [] : [inclusiveRange(1, 65535)];
}

export function portName(value: string): string[] {
  const out: string[] = [];
  if (value.length > 15) out.push(maxLength(15));
  if (!/^[-a-z0-9]+$/.test(value)) out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(value)) out.push("must contain at least one letter (a-z)");
  if (value.includes("--")) out.push("must not contain consecutive hyphens");
  if (value.startsWith("-") || value.endsWith("-")) out.push("must not begin or end with a hyphen");
  return out;
}

export function percent(value: string): string[] {
  return /^[0-9]+%$/.test(value)
    ? []
    : [regexText("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", "1%", "93%")];
}

export function ipAddress(value: string): string[] {
  return isIP(value) !== 0 ? [] : ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"];
}

export function cidr(value: string): string[] {
  const [address = "", length = "", ...rest] = value.split("/");
  const bits = isIP(address) === 6 ? 128 : 32;
  const isGood = rest.length === 0 && isIP(address) !== 0 && /^\d{1,3}$/.test(length) && Number(length) <= bits;
  return isGood ? [] : ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"];
}
