/** One line of a container's log (kubelet, "CRI logging format"): `time stream tag text`. */
export interface CriLogLine {
  /** RFC 3339 with nanoseconds, as written. */
  time: string;
  stream: "stdout" | "stderr";
  /** False for a part of a longer line: no newline follows. */
  complete: boolean;
  text: Buffer;
}

const space = 0x20;

/** Parses a line without its newline. Undefined when it is none. */
export function parseCriLine(line: Buffer): CriLogLine | undefined {
  const first = line.indexOf(space);
  const second = first < 0 ? -1 : line.indexOf(space, first + 1);
  if (second < 0) return undefined;
  const third = line.indexOf(space, second + 1);
  const stream = line.toString("latin1", first + 1, second);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  const tags = line.toString("latin1", second + 1, third < 0 ? line.length : third);
  return {
    time: line.toString("latin1", 0, first),
    stream,
    complete: tags.split(":")[0] !== "P",
    text: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1),
  };
}
