import type { Socket } from "node:net";
import type { PeerCertificate as NodePeerCertificate, TLSSocket } from "node:tls";
import type { PeerCertificate } from "./http.ts";

/** What is the same for all requests of one connection. */
export class ConnectionInfo {
  readonly tls: boolean;
  readonly remoteAddress: string;
  readonly #socket: Socket | TLSSocket;
  #peer: PeerCertificate | undefined | null = null;

  constructor(socket: Socket | TLSSocket) {
    this.#socket = socket;
    // On HTTP/2 this is a proxy of the socket, which does not tell what it has.
    this.tls = (socket as TLSSocket).encrypted === true;
    this.remoteAddress = socket.remoteAddress ?? "";
  }

  /** Read from the handshake on first use. */
  get peerCertificate(): PeerCertificate | undefined {
    if (this.#peer === null) this.#peer = this.tls ? readPeer(this.#socket as TLSSocket) : undefined;
    return this.#peer;
  }
}

function listOf(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function readPeer(socket: TLSSocket): PeerCertificate | undefined {
  const certificate = socket.getPeerCertificate() as NodePeerCertificate | undefined;
  // Node answers an empty object when the client sent none.
  if (certificate?.raw === undefined) return undefined;
  return {
    authorized: socket.authorized,
    commonName: listOf(certificate.subject.CN)[0] ?? "",
    organizations: listOf(certificate.subject.O),
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    der: certificate.raw,
  };
}
