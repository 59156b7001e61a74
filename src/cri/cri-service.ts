import type { Socket } from "node:net";
import type { PodRuntime } from "#api/pod-runtime.ts";
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { GrpcServer, type StreamHandler, type UnaryHandler } from "./grpc-server.ts";
import { imageHandlers, imageStreams } from "./image-service.ts";
import { runtimeHandlers } from "./runtime-service.ts";
import { runtimeStreams } from "./runtime-streams.ts";
import { StreamingServer } from "./streaming-server.ts";

export interface CriServiceParts {
  runtime: PodRuntime;
  clock: Clock;
  log: Logger;
}

/** Both services and the streaming server: all that a CRI connection needs. */
export function createCriService(parts: CriServiceParts): { accept(socket: Socket): void; stop(): Promise<void> } {
  const streaming = new StreamingServer(parts);
  const runtime = runtimeHandlers({ ...parts, streaming });
  const images = imageHandlers(parts);
  const grpc = new GrpcServer({
    log: parts.log,
    unary: new Map([...Object.entries(runtime), ...Object.entries(images)] as [string, UnaryHandler][]),
    streams: new Map([...Object.entries(runtimeStreams(runtime, parts)), ...Object.entries(imageStreams(images))] as [
      string,
      StreamHandler,
    ][]),
  });
  return {
    accept: (socket) => grpc.accept(socket),
    async stop() {
      grpc.stop();
      await streaming.stop();
    },
  };
}
