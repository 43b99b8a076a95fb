import { strict as assert } from "node:assert";
import { createServer, type Server } from "node:http";
import { after, before, test } from "node:test";
import { type Certificate, parseCaProfile, parseCertificate } from "@fujie/certificates";
import { contextPrimitive, der, derOid, derSequence } from "@fujie/certificates/der";
import {
  AT,
  days,
  extension,
  forgeCa,
  forgeCrl,
  forgeLeaf,
  forgeOcsp,
  forgeResponder,
  forgeRoot,
  REVOKED_STATUS,
} from "@fujie/certificates/testing";
import { manualClock } from "@fujie/kit/clock";
import { open } from "./adapter.ts";

const root = forgeRoot("ecdsa");
const issuing = forgeCa(root, "ecdsa", "Issuing");
const responder = forgeResponder(issuing, "ecdsa");
/** Where it says that its state is told leads inside: nothing is ever fetched by a certificate's own word. */
const own = (port: number) => {
  const url = der(contextPrimitive(6), Buffer.from(`http://127.0.0.1:${port}/own`));
  return extension("1.3.6.1.5.5.7.1.1", derSequence(derSequence(derOid("1.3.6.1.5.5.7.48.1"), url)));
};
const leaf = forgeLeaf(issuing, "ecdsa", { serial: 77n });
const chain = [leaf, issuing, root].map((party) => parseCertificate(party.der));
const issuers = chain.slice(1).map(({ fingerprint }) => fingerprint);

/** What the CA's services answer now. */
let answers: { root: Uint8Array; issuing: Uint8Array; ocsp: ((nonce: Uint8Array) => Uint8Array) | undefined };
let requests: string[] = [];
let server: Server;
let port = 0;

before(async () => {
  server = createServer(async (request, response) => {
    requests.push(request.url ?? "");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const body = Buffer.concat(chunks);
    const reply = { "/root.crl": answers.root, "/issuing.crl": answers.issuing }[request.url ?? ""];
    // The nonce is the last thing in a request.
    const told = reply ?? answers.ocsp?.(new Uint8Array(body.subarray(-32)));
    response.writeHead(told === undefined ? 500 : 200).end(told);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  port = address !== null && typeof address === "object" ? address.port : 0;
});
after(() => server.close());

const ocsp = (nonce: Uint8Array, more: Partial<Parameters<typeof forgeOcsp>[0]> = {}) =>
  forgeOcsp({ certificate: leaf, issuer: issuing, signer: responder, nonce, certificates: [responder], ...more });

interface Situation {
  readonly root?: Uint8Array;
  readonly issuing?: Uint8Array;
  readonly ocsp?: (nonce: Uint8Array) => Uint8Array;
  readonly seen?: bigint;
  readonly allowHosts?: readonly string[];
  readonly host?: string;
  readonly path?: readonly Certificate[];
}

/** What a CA that is asked for the first time is found to say. */
async function stateIn(situation: Situation): Promise<string> {
  requests = [];
  answers = {
    root: situation.root ?? forgeCrl(root, { number: 7n }),
    issuing: situation.issuing ?? forgeCrl(issuing, { number: 7n }),
    ocsp: situation.ocsp,
  };
  const base = `http://${situation.host ?? "127.0.0.1"}:${port}`;
  const base64 = (der: Uint8Array) => Buffer.from(der).toString("base64");
  const profile = parseCaProfile({
    id: "ca",
    name: "CA",
    anchors: [base64(root.der)],
    intermediates: [base64(issuing.der)],
    identity: { extensions: [{ oid: "1.2.156.10260.4.1.1", field: "personId" }], subject: [] },
    revocation: {
      crlUrls: [`${base}/root.crl`, `${base}/issuing.crl`],
      ocspUrl: `${base}/ocsp`,
      ocspNonce: true,
      ocspAgeMaxSeconds: 300,
      crlAgeMaxSeconds: 7 * 86_400,
    },
  });
  const seen = new Map(situation.seen === undefined ? [] : issuers.map((each) => [each, situation.seen ?? 0n]));
  const authority = open(
    { id: "ca", level: 3 },
    { profile, allowHosts: [] },
    {
      clock: manualClock(AT.getTime()),
      timeoutMs: 1_000,
      allowHosts: situation.allowHosts ?? [`127.0.0.1:${port}`],
      crlNumbers: { read: async () => seen, raise: async () => {} },
    },
  );
  const result = await authority.revocationOf(situation.path ?? chain);
  return result.ok ? "GOOD" : result.reason;
}

const UNKNOWN = "CERTIFICATE_STATUS_UNKNOWN";

test("SZ-13.1 lists clear a certificate while the responder is away, and the responder while the issuer's list is", async () => {
  assert.equal(await stateIn({}), "GOOD");
  assert.equal(await stateIn({ ocsp: (nonce) => ocsp(nonce), issuing: new Uint8Array([1]) }), "GOOD");
  assert.equal(await stateIn({ ocsp: (nonce) => ocsp(nonce, { status: REVOKED_STATUS }) }), "CERTIFICATE_REVOKED");
  const revoked = forgeCrl(issuing, { revoked: [{ serial: 77n }] });
  assert.equal(await stateIn({ ocsp: (nonce) => ocsp(nonce), issuing: revoked }), "CERTIFICATE_REVOKED");
});

test("SZ-13.1 a stale list, one of before the newest that was seen, and one by another key are no news", async () => {
  const stale = forgeCrl(issuing, { thisUpdate: days(-9), nextUpdate: days(-2) });
  assert.equal(await stateIn({ issuing: stale }), UNKNOWN);
  assert.equal(await stateIn({ seen: 8n }), UNKNOWN);
  assert.equal(await stateIn({ seen: 7n }), "GOOD");
  assert.equal(await stateIn({ issuing: forgeCrl(issuing, { key: root.key }) }), UNKNOWN);
});

test("SZ-13.1 a replayed answer, one without our nonce, an old one and a stranger's say nothing", async () => {
  const gone = { issuing: new Uint8Array([1]) };
  const replayed = ocsp(new Uint8Array(32).fill(9));
  const { key: _, ...ours } = responder;
  const person = forgeLeaf(issuing, "ecdsa");
  const cases: [string, (nonce: Uint8Array) => Uint8Array][] = [
    ["replayed", () => replayed],
    [
      "without nonce",
      () => forgeOcsp({ certificate: leaf, issuer: issuing, signer: responder, certificates: [responder] }),
    ],
    ["old", (nonce) => ocsp(nonce, { thisUpdate: days(-2), nextUpdate: days(-1) })],
    ["by a person", (nonce) => ocsp(nonce, { signer: person, certificates: [person] })],
    [
      "by another CA's responder",
      (nonce) => {
        const other = forgeResponder(forgeCa(forgeRoot("ecdsa", "Other"), "ecdsa", "Issuing"), "ecdsa");
        return ocsp(nonce, { signer: other, certificates: [other] });
      },
    ],
    ["under the responder's name by another key", (nonce) => ocsp(nonce, { signer: { ...ours, key: person.key } })],
  ];
  for (const [what, answer] of cases) assert.equal(await stateIn({ ...gone, ocsp: answer }), UNKNOWN, what);
});

test("nothing is fetched from inside, by a profile's address or a certificate's own, unless the operator allows the host", async () => {
  for (const host of ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"]) {
    assert.equal(await stateIn({ host, allowHosts: [] }), UNKNOWN, host);
    assert.deepEqual(requests, []);
  }
  assert.equal(await stateIn({ allowHosts: [`127.0.0.1:${port + 1}`] }), UNKNOWN);
  assert.deepEqual(requests, []);
  const pointing = parseCertificate(forgeLeaf(issuing, "ecdsa", { serial: 78n, extra: [own(port)] }).der);
  assert.equal(await stateIn({ path: [pointing, ...chain.slice(1)] }), "GOOD");
  assert.deepEqual(new Set(requests), new Set(["/root.crl", "/issuing.crl", "/ocsp"]));
});
