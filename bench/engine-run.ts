/** `docker run --rm` without the command line program: the requests that matter, over the socket. */
import { Agent, type IncomingMessage, request } from "node:http";

const agents = new Map<string, Agent>();

function agentOf(socketPath: string): Agent {
  let agent = agents.get(socketPath);
  if (agent === undefined) {
    agent = new Agent({ keepAlive: true });
    agents.set(socketPath, agent);
  }
  return agent;
}

/** The answer's headers; they come before the body when the container has to end first. */
function send(socketPath: string, path: string, body?: object): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const asked = request({ socketPath, agent: agentOf(socketPath), method: "POST", path, headers }, resolve);
    asked.once("error", reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function text(answer: IncomingMessage): Promise<string> {
  let out = "";
  for await (const chunk of answer) out += String(chunk);
  if ((answer.statusCode ?? 500) >= 400) throw new Error(`${answer.statusCode}: ${out}`);
  return out;
}

/** Creates a container that removes itself, starts it, and waits until it is gone. */
export async function runOverSocket(socketPath: string, network: string): Promise<void> {
  const container = { Image: "gantry/hello", Cmd: ["true"], HostConfig: { AutoRemove: true, NetworkMode: network } };
  const { Id } = JSON.parse(await text(await send(socketPath, "/v1.41/containers/create", container))) as {
    Id: string;
  };
  const waiting = await send(socketPath, `/v1.41/containers/${Id}/wait?condition=removed`);
  await text(await send(socketPath, `/v1.41/containers/${Id}/start`));
  await text(waiting);
}
