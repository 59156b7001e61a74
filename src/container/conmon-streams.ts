import { SeqpacketSocket } from "#host/seqpacket.ts";
import type { AttachedStreams, OutputChunk } from "./container-types.ts";

/** The first byte of a packet from conmon (conmon, conn_sock.c). */
const stderrPipe = 3;
/** Conmon reads packets of this size from a client. */
const maxWrite = 8192;

/** Attaches to a container's or exec's standard streams through conmon's socket. */
export function attachStreams(socketPath: string): AttachedStreams {
  const socket = SeqpacketSocket.connect(socketPath);
  let writing = Promise.resolve();
  let ended = false;
  async function* output(): AsyncGenerator<OutputChunk, void, undefined> {
    for await (const packet of socket.packets()) {
      if (packet.length > 1) yield { stream: packet[0] === stderrPipe ? "stderr" : "stdout", data: packet.subarray(1) };
    }
  }
  return {
    output: output(),
    write: (data) => {
      writing = writing.then(async () => {
        for (let at = 0; at < data.length && !ended; at += maxWrite) {
          if (!(await socket.send(data.subarray(at, at + maxWrite)))) return;
        }
      });
      return writing;
    },
    closeStdin: () => {
      // What was written before must arrive before the end does.
      void writing.then(() => {
        ended = true;
        socket.endWriting();
      });
    },
    close: () => {
      ended = true;
      socket.close();
    },
  };
}
