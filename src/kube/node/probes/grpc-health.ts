import { connect } from "node:http2";

const states = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/**
 * One call of grpc.health.v1.Health/Check. Undefined when the service is serving, else the message. The
 * request has one string field, the answer one enum field, so that no protobuf library is needed.
 */
export function grpcHealth(
  host: string,
  port: number,
  service: string,
  timeoutMs: number,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    const session = connect(`http://${address}`);
    const done = (outcome: string | undefined): void => {
      clearTimeout(timer);
      session.destroy();
      resolve(outcome);
    };
    const seconds = `${timeoutMs / 1000}s`;
    const timer = setTimeout(() => done(`timeout: health rpc did not complete within ${seconds}`), timeoutMs);
    session.on("error", () => done(`error: this server does not answer on "${address}": connection refused`));
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "kube-probe/1.36",
    });
    let status: string | undefined;
    let message = "";
    const chunks: Buffer[] = [];
    const note = (headers: Record<string, unknown>): void => {
      if (headers["grpc-status"] !== undefined) status = String(headers["grpc-status"]);
      if (headers["grpc-message"] !== undefined) message = decodeURIComponent(String(headers["grpc-message"]));
    };
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => {});
    stream.on("end", () => {
      if (status === "12")
        done("error: this server does not implement the grpc health protocol (grpc.health.v1.Health)");
      else if (status !== undefined && status !== "0")
        done(`error: health rpc probe failed: rpc error: code = ${status} desc = ${message}`);
      else {
        const state = healthState(Buffer.concat(chunks));
        done(state === 1 ? undefined : `service unhealthy (responded with "${states[state] ?? state}")`);
      }
    });
    const name = Buffer.from(service);
    const body = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([prefix, body]));
  });
}

/** Field 1 of HealthCheckResponse, after the five bytes of gRPC framing. */
function healthState(frame: Buffer): number {
  const body = frame.subarray(5);
  return body.length >= 2 && body[0] === 0x08 ? (body[1] as number) : 0;
}
