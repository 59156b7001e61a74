import { kubeClientContract } from "#kube/client/contract.ts";
import { startTestServer } from "./test-server.ts";

kubeClientContract("in process", async () => {
  const test = await startTestServer();
  return { client: test.server.client(), close: () => test.stop() };
});

kubeClientContract("HTTPS", async () => {
  const test = await startTestServer();
  return { client: await test.clientFor("tester", ["system:masters"]), close: () => test.stop() };
});
