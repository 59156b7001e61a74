import type { Socket } from "node:net";
import {
  Server,
  ServerCredentials,
  status,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import { type ErrorCode, errorCode, errorMessage, GantryError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { CriCodec, schemaLines } from "./codec.ts";
import { services } from "./schema.ts";

const statusOf: Record<ErrorCode, status> = {
  invalid: status.INVALID_ARGUMENT,
  unauthorized: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  "not-found": status.NOT_FOUND,
  "already-exists": status.ALREADY_EXISTS,
  conflict: status.FAILED_PRECONDITION,
  "not-modified": status.OK,
  gone: status.OUT_OF_RANGE,
  "too-large": status.RESOURCE_EXHAUSTED,
  exhausted: status.RESOURCE_EXHAUSTED,
  unsupported: status.UNIMPLEMENTED,
  unavailable: status.UNAVAILABLE,
  timeout: status.DEADLINE_EXCEEDED,
  cancelled: status.CANCELLED,
  internal: status.INTERNAL,
};

/** As much as a kubelet's client takes. */
const messageLimit = 16 * 1024 * 1024;

export type UnaryHandler = (request: object, signal: AbortSignal) => Promise<object>;
export type StreamHandler = (request: object, signal: AbortSignal) => AsyncIterable<object>;

export interface GrpcServerParts {
  log: Logger;
  /** By method name, of both services: no name is in both. A method without is answered `UNIMPLEMENTED`. */
  unary: ReadonlyMap<string, UnaryHandler>;
  streams: ReadonlyMap<string, StreamHandler>;
}

/** CRI's two services over gRPC, on connections that somebody else accepts. */
export class GrpcServer {
  readonly #parts: GrpcServerParts;
  readonly #server = new Server({
    "grpc.max_receive_message_length": messageLimit,
    "grpc.max_send_message_length": messageLimit,
    "grpc.enable_channelz": 0,
  });
  readonly #injector;

  constructor(parts: GrpcServerParts) {
    this.#parts = parts;
    const codec = new CriCodec();
    for (const [service, text] of Object.entries(services)) {
      const definition: Record<string, object> = {};
      const handlers: Record<string, unknown> = {};
      for (const [method = "", request = "", ...answer] of schemaLines(text)) {
        const isStream = answer[0] === "stream";
        const response = answer.at(-1) as string;
        definition[method] = {
          path: `/${service}/${method}`,
          requestStream: false,
          responseStream: isStream,
          requestSerialize: codec.encoder(request),
          requestDeserialize: codec.decoder(request),
          responseSerialize: codec.encoder(response),
          responseDeserialize: codec.decoder(response),
        };
        handlers[method] = isStream ? this.#streamHandler(method) : this.#unaryHandler(method);
      }
      this.#server.addService(definition as unknown as ServiceDefinition, handlers as UntypedServiceImplementation);
    }
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
  }

  accept(socket: Socket): void {
    this.#injector.injectConnection(socket);
  }

  stop(): void {
    this.#injector.destroy();
    this.#server.forceShutdown();
  }

  #unaryHandler(method: string) {
    return (call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>): void => {
      const handler = this.#parts.unary.get(method);
      const gone = new AbortController();
      call.on("cancelled", () => gone.abort());
      const work = handler === undefined ? Promise.reject(unknownMethod(method)) : handler(call.request, gone.signal);
      work.then(
        (response) => answer(null, response),
        (error: unknown) => {
          this.#parts.log.debug("A CRI call failed.", { method, error });
          answer({ code: statusOf[errorCode(error)], details: errorMessage(error) });
        },
      );
    };
  }

  #streamHandler(method: string) {
    return (call: ServerWritableStream<object, object>): void => {
      void this.#stream(method, call);
    };
  }

  async #stream(method: string, call: ServerWritableStream<object, object>): Promise<void> {
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort());
    try {
      const handler = this.#parts.streams.get(method);
      if (handler === undefined) throw unknownMethod(method);
      for await (const message of handler(call.request, gone.signal)) {
        if (!call.write(message)) await drained(call, gone.signal);
      }
      call.end();
    } catch (error) {
      if (!gone.signal.aborted) call.emit("error", { code: statusOf[errorCode(error)], details: errorMessage(error) });
    }
  }
}

function unknownMethod(method: string): GantryError {
  return new GantryError("unsupported", `method ${method} not implemented`);
}

function drained(call: ServerWritableStream<object, object>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    call.once("drain", resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
