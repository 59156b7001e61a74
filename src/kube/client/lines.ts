/** The lines of a byte stream, without their newlines; a last line without one counts. Reads no faster than asked. */
export async function* splitLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let parts: Buffer[] = [];
  for await (const bytes of source) {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      const line = parts.length === 0 ? piece.toString("utf8") : Buffer.concat([...parts, piece]).toString("utf8");
      parts = [];
      start = end + 1;
      if (line !== "") yield line;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length > 0) yield Buffer.concat(parts).toString("utf8");
}
