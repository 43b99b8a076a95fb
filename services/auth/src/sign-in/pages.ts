/** The pages as pure functions from values to HTML; whatever comes from outside is escaped by `html`. */
import type { IncomingMessage } from "node:http";
import { isReason, type Reason, reasons } from "@fujie/kit/errors";
import { type Html, html, trusted } from "./escape.ts";
import { script, style } from "./page-assets.ts";
import { describeScope, type Language, preferredLanguage, texts } from "./texts.ts";

export interface Failure {
  /** A reason of the catalogue, or an OAuth error code. */
  readonly reason: string;
  readonly traceId: string;
  readonly retryDelayMs?: number | undefined;
}

export interface SignInView {
  readonly uid: string;
  readonly clientName: string;
  readonly csrfToken: string;
  readonly challenge: Buffer;
  readonly failure?: Failure | undefined;
}

export interface ConsentView {
  readonly uid: string;
  readonly clientName: string;
  readonly csrfToken: string;
  readonly scopes: readonly string[];
}

export function pageLanguage(request: Pick<IncomingMessage, "headers">): Language {
  return preferredLanguage(request.headers["accept-language"]);
}

export function renderSignIn(language: Language, view: SignInView): string {
  const say = texts[language];
  const base = `/interaction/${encodeURIComponent(view.uid)}`;
  return page(
    language,
    say.title,
    html`<h1>${say.title}</h1>
<p class="soft">${say.to(view.clientName)}</p>
${view.failure === undefined ? "" : renderAlert(language, view.failure)}
<h2>${say.withPassword}</h2>
<form method="post" action="${base}/password">
<input type="hidden" name="csrfToken" value="${view.csrfToken}">
<label for="login-name">${say.loginName}</label>
<input id="login-name" name="loginName" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="64" autofocus>
<label for="password">${say.password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256">
<button>${say.signIn}</button>
</form>
<h2>${say.withCertificate}</h2>
<p class="soft">${say.certificateHelp}</p>
<form id="certificate-form" action="${base}/certificate">
<label for="challenge">${say.challenge}</label>
<textarea id="challenge" rows="6" readonly>${view.challenge.toString("utf8")}</textarea>
<label for="certificates">${say.certificates}</label>
<input id="certificates" name="certificates" type="file" required>
<label for="signature">${say.signature}</label>
<input id="signature" name="signature" type="file" required>
<label for="format">${say.format}</label>
<select id="format" name="format"><option value="raw">${say.raw}</option><option value="pkcs7">${say.pkcs7}</option></select>
<p id="certificate-alert" role="alert" hidden></p>
<button>${say.signIn}</button>
</form>
${renderAbort(language, view)}
<script>${trusted(script)}</script>`,
  );
}

export function renderConsent(language: Language, view: ConsentView): string {
  const say = texts[language];
  const scopes = view.scopes.map((scope) => html`<li>${describeScope(scope, language)}</li>`);
  return page(
    language,
    say.consentTitle,
    html`<h1>${say.consentTitle}</h1>
<p>${say.consentAsk(view.clientName)}</p>
<ul>${scopes}</ul>
<form method="post" action="/interaction/${encodeURIComponent(view.uid)}/consent">
<input type="hidden" name="csrfToken" value="${view.csrfToken}">
<button>${say.allow}</button>
</form>
${renderAbort(language, view)}`,
  );
}

export function renderFailure(language: Language, failure: Failure): string {
  const say = texts[language];
  return page(
    language,
    say.failure,
    html`<h1>${say.failure}</h1>${renderAlert(language, failure)}<p>${say.failureHelp}</p>`,
  );
}

/** `form` is the OpenID library's: an empty form with its own token, to which buttons refer by its id. */
export function renderSignOut(language: Language, form: string): string {
  const say = texts[language];
  return page(
    language,
    say.signOutTitle,
    html`<h1>${say.signOutTitle}</h1>
<p>${say.signOutAsk}</p>
${trusted(form)}
<button form="op.logoutForm" name="logout" value="yes">${say.signOut}</button>
<button form="op.logoutForm" class="plain">${say.stay}</button>`,
  );
}

export function renderSignedOut(language: Language): string {
  const say = texts[language];
  return page(language, say.signOutTitle, html`<h1>${say.signOutTitle}</h1><p>${say.signedOut}</p>`);
}

/** What the reader is told about a failure. */
export function failureText(language: Language, { reason, retryDelayMs }: Failure): string {
  if (reason === "SIGN_IN_THROTTLED" && retryDelayMs !== undefined) {
    return texts[language].throttled(Math.ceil(retryDelayMs / 60_000));
  }
  if (isReason(reason)) return reasonText(language, reason);
  // An OAuth error code: the standard's own word is all there is.
  return reason;
}

function reasonText(language: Language, reason: Reason): string {
  return language === "en" ? reasons[reason].en : reasons[reason].zh;
}

function renderAlert(language: Language, failure: Failure): Html {
  return html`<p role="alert">${failureText(language, failure)}<br><span class="soft">${texts[language].trace}: ${failure.traceId}</span></p>`;
}

function renderAbort(language: Language, { uid, csrfToken }: { uid: string; csrfToken: string }): Html {
  return html`<form method="post" action="/interaction/${encodeURIComponent(uid)}/abort">
<input type="hidden" name="csrfToken" value="${csrfToken}">
<button class="plain">${texts[language].abort}</button>
</form>`;
}

function page(language: Language, title: string, content: Html): string {
  const head = html`<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · ${texts[language].product}</title>
<style>${trusted(style)}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`;
  return head.html;
}
