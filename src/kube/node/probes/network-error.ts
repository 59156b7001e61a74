/** Go's words for a failed connection, which is what people find when they search for a probe's message. */
export function dialError(host: string, port: number, error: unknown): string {
  const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  switch ((error as NodeJS.ErrnoException).code) {
    case "ECONNREFUSED":
      return `dial tcp ${address}: connect: connection refused`;
    case "EHOSTUNREACH":
      return `dial tcp ${address}: connect: no route to host`;
    case "ENETUNREACH":
      return `dial tcp ${address}: connect: network is unreachable`;
    case "ETIMEDOUT":
      return `dial tcp ${address}: i/o timeout`;
    case "ECONNRESET":
      return `read tcp ${address}: read: connection reset by peer`;
    case "ENOTFOUND":
      return `dial tcp: lookup ${host}: no such host`;
    default:
      return error instanceof Error && error.message !== "" ? error.message : `dial tcp ${address}: ${String(error)}`;
  }
}
