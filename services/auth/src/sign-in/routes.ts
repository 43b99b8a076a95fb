/**
 * The pages and their JSON twins.
 *
 *   GET  /interaction/<uid>              the page, or what there is to do
 *   POST /interaction/<uid>/password     ┐
 *   POST /interaction/<uid>/certificate  ├ 303 to where it goes on (JSON: 200 {"location"}),
 *   POST /interaction/<uid>/consent      │ or the page again (JSON: {"reason", "message", "traceId"})
 *   POST /interaction/<uid>/abort        ┘
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { SignatureFormat } from "@fujie/api/fujie/trust/v1/certificate";
import { transaction } from "@fujie/kit/db";
import { DomainError, fieldError } from "@fujie/kit/errors";
import { recordEvent } from "@fujie/kit/record";
import type { Context } from "../context.ts";
import type { CertificateProof } from "../directory/directory.ts";
import type { OpenidProvider } from "../openid/provider.ts";
import { webOrigin } from "../web/request-scope.ts";
import { acceptsJson, bytesOf, type PostedBody, readBody, textField } from "./body.ts";
import { offerChallenge, signInWithCertificate } from "./certificate.ts";
import { csrfTokenFor, isOurOwn } from "./csrf.ts";
import type { Place } from "./establish.ts";
import {
  abortInteraction,
  askedScopes,
  finishConsent,
  finishSignIn,
  type Interaction,
  loadInteraction,
} from "./interaction.ts";
import { knownBrowserCookie, knownBrowserOf } from "./known-browser.ts";
import { networkKeyOf } from "./network.ts";
import { failureText, pageLanguage, renderConsent, renderFailure, renderSignIn } from "./pages.ts";
import { loginKeyOf, signInWithPassword } from "./password.ts";
import { redirectTargets, sendJson, sendPage, sendRedirect, sendRefusal, setRetryAfter, statusOf } from "./respond.ts";

export interface SignInContext extends Context {
  readonly openid: OpenidProvider;
}

/** One request to the pages. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly traceId: string;
}

const PATH = /^\/interaction\/(?<uid>[A-Za-z0-9_-]{1,64})(?:\/(?<action>password|certificate|consent|abort))?$/;

/** The path's template, or undefined when it is none of the pages'. */
export function signInRoute(path: string): string | undefined {
  const groups = PATH.exec(path)?.groups;
  if (groups === undefined) return undefined;
  return groups["action"] === undefined ? "/interaction" : `/interaction/${groups["action"]}`;
}

/** Serves a path for which `signInRoute` has a template. */
export async function serveSignIn(context: SignInContext, path: string, exchange: Exchange): Promise<void> {
  const { uid = "", action } = PATH.exec(path)?.groups ?? {};
  const { request, response } = exchange;
  if (request.method !== (action === undefined ? "GET" : "POST")) {
    response.writeHead(405, { allow: action === undefined ? "GET" : "POST" }).end();
    return;
  }
  const interaction = await loadInteraction(context, context.openid.current(), uid, exchange);
  if (interaction === undefined) return refuseForeign(exchange);
  if (action === undefined) return showInteraction(context, interaction, exchange);
  return takeAnswer(context, interaction, action, exchange);
}

async function showInteraction(context: SignInContext, interaction: Interaction, exchange: Exchange): Promise<void> {
  if (!acceptsJson(exchange.request)) return showPage(context, interaction, exchange, 200);
  const { client, prompt, stored } = interaction;
  if (prompt === "consent") {
    const scopes = askedScopes(interaction);
    return sendJson(exchange.response, 200, { uid: stored.uid, prompt, methods: [], clientName: client.name, scopes });
  }
  const challenge = await offerChallenge(context, stored.uid);
  sendJson(exchange.response, 200, {
    uid: stored.uid,
    prompt,
    methods: ["password", "certificate"],
    clientName: client.name,
    certificateChallenge: {
      message: challenge.message.toString("base64"),
      expireTime: new Date(challenge.expiresAtMs).toISOString(),
    },
  });
}

async function showPage(
  context: SignInContext,
  interaction: Interaction,
  { request, response, traceId }: Exchange,
  status: number,
  error?: DomainError,
): Promise<void> {
  const { client, stored, prompt } = interaction;
  const language = pageLanguage(request);
  const common = { uid: stored.uid, clientName: client.name, csrfToken: csrfTokenFor(context.ring, stored.uid) };
  const formTargets = redirectTargets(stored.params["redirect_uri"]);
  if (prompt === "consent") {
    const page = renderConsent(language, { ...common, scopes: askedScopes(interaction) });
    return sendPage(response, status, page, undefined, { formTargets });
  }
  const failure = error === undefined ? undefined : { reason: error.reason, traceId, retryDelayMs: error.retryDelayMs };
  const challenge = (await offerChallenge(context, stored.uid)).message;
  sendPage(response, status, renderSignIn(language, { ...common, challenge, failure }), undefined, { formTargets });
}

async function takeAnswer(
  context: SignInContext,
  interaction: Interaction,
  action: string,
  exchange: Exchange,
): Promise<void> {
  const { request, response, traceId } = exchange;
  let json = acceptsJson(request);
  try {
    const body = await readBody(request);
    json ||= body.json;
    const token = body.fields["csrfToken"];
    const given = {
      issuer: context.issuer,
      json: body.json,
      uid: interaction.stored.uid,
      token: typeof token === "string" ? token : undefined,
    };
    if (!isOurOwn(request, given, context.ring)) throw new DomainError("REQUEST_MALFORMED", { subject: "csrf" });
    const location = await answer(context, interaction, action, body, exchange);
    if (json) sendJson(response, 200, { location });
    else sendRedirect(response, location);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    if (json) return sendRefusal(request, response, error, traceId);
    setRetryAfter(response, error);
    await showPage(context, interaction, exchange, statusOf(error), error);
  }
}

async function answer(
  context: SignInContext,
  interaction: Interaction,
  action: string,
  body: PostedBody,
  exchange: Exchange,
): Promise<string> {
  if (action === "abort") return abortInteraction(interaction);
  if (action === "consent") return giveConsent(context, interaction);
  if (interaction.prompt !== "login") throw new DomainError("REQUEST_MALFORMED");
  const networkKey = networkKeyOf(context, exchange.request);
  const place: Place = {
    interaction: interaction.stored.uid,
    formerSessionId: interaction.stored.session?.accountId,
    networkKey,
  };
  if (action === "certificate") {
    return finishSignIn(interaction, await signInWithCertificate(context, place, readProof(body), networkKey));
  }
  const loginName = textField(body, "loginName", 64);
  const password = textField(body, "password", 256);
  const loginKey = loginKeyOf(context.ring, loginName);
  const knownBrowser = knownBrowserOf(exchange.request, context.ring, loginKey);
  const session = await signInWithPassword(context, place, { loginName, password, networkKey, knownBrowser });
  if (knownBrowser === undefined) {
    const secure = context.issuer.startsWith("https:");
    exchange.response.appendHeader("set-cookie", knownBrowserCookie(context.ring, loginKey, secure));
  }
  return finishSignIn(interaction, session);
}

async function giveConsent(context: SignInContext, interaction: Interaction): Promise<string> {
  const provider = context.openid.current();
  const location = interaction.prompt === "consent" ? await finishConsent(provider, interaction) : undefined;
  if (location === undefined) throw new DomainError("REQUEST_MALFORMED");
  const details = { session: interaction.stored.session?.accountId ?? "", scopes: askedScopes(interaction).join(" ") };
  await transaction(context.db, (tx) =>
    recordEvent(context, tx, webOrigin(), {
      type: "client.allowed",
      outcome: "SUCCESS",
      ...(interaction.client.applicationId === undefined ? {} : { applicationId: interaction.client.applicationId }),
      details,
    }),
  );
  return location;
}

const CERTIFICATES_MAX = 6;
const CERTIFICATE_BYTES_MAX = 16_384;
const SIGNATURE_BYTES_MAX = 65_536;

function readProof({ fields }: PostedBody): CertificateProof {
  const { certificates, signature, format } = fields;
  if (!Array.isArray(certificates) || certificates.length < 1 || certificates.length > CERTIFICATES_MAX) {
    throw fieldError("FIELD_INVALID", "certificates", `must be a list of 1 to ${CERTIFICATES_MAX}`);
  }
  if (format !== "raw" && format !== "pkcs7") throw fieldError("FIELD_INVALID", "format", 'must be "raw" or "pkcs7"');
  return {
    certificates: certificates.map((item: unknown) => bytesOf(item, "certificates", CERTIFICATE_BYTES_MAX)),
    signature: bytesOf(signature, "signature", SIGNATURE_BYTES_MAX),
    format: format === "raw" ? SignatureFormat.RAW : SignatureFormat.PKCS7,
  };
}

/** Over, or not this browser's: nothing is told apart. */
function refuseForeign({ request, response, traceId }: Exchange): void {
  const failure = { reason: "SESSION_NOT_FOUND", traceId };
  const language = pageLanguage(request);
  if (!acceptsJson(request)) sendPage(response, 404, renderFailure(language, failure));
  else sendJson(response, 404, { ...failure, message: failureText(language, failure) });
}
