/** Renders docs/return-codes.md from the catalogue of reasons (SU-6.3). */
import { type CanonicalCode, isReason, type Reason, reasons } from "./reasons.ts";

/** The HTTP status with which a canonical code leaves over Connect (Connect protocol, "Error codes"). */
export const httpStatus: Readonly<Record<CanonicalCode, number>> = {
  CANCELLED: 499,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  UNAUTHENTICATED: 401,
};

export interface ReasonArea {
  readonly en: string;
  readonly zh: string;
  /** The first reason of the area, in the catalogue's order; the area ends where the next one starts. */
  readonly from: Reason;
}

export const reasonAreas: readonly ReasonArea[] = [
  { en: "Requests", zh: "请求", from: "INTERNAL" },
  { en: "Access", zh: "访问控制", from: "TOKEN_MISSING" },
  { en: "Identifiers and names", zh: "证件号码与名称", from: "CITIZEN_ID_INVALID" },
  { en: "Accounts and registration", zh: "账户与登记", from: "AGREEMENT_NOT_ACCEPTED" },
  { en: "Organisations and delegation", zh: "单位与授权", from: "ORGANISATION_NOT_FOUND" },
  { en: "Applications, operators, consent", zh: "应用、操作员与同意", from: "APPLICATION_NOT_FOUND" },
  { en: "Sign-in", zh: "登录", from: "CREDENTIALS_INVALID" },
  { en: "Certificates", zh: "数字证书", from: "CERTIFICATE_MALFORMED" },
  { en: "Verification and sources", zh: "核验与信任源", from: "CLAIM_INCOMPLETE" },
  { en: "Audit", zh: "审计", from: "EVENT_INVALID" },
];

const INTRODUCTION = `# Return codes 返回码

<!-- Generated from packages/kit/src/errors/reasons.ts by scripts/generate.ts. Do not edit. -->

Every refusal carries a canonical gRPC code and, in \`google.rpc.ErrorInfo\` (domain \`fujie\`), one of the reasons
below; \`metadata.trace_id\` names the call in logs and traces. Decide by the reason, never by the text.
*Retry* says whether the same call may succeed later without anybody changing it; wait for \`RetryInfo\` where there
is one, and otherwise back off with jitter.

每次拒绝都返回标准 gRPC 状态码，并在 \`google.rpc.ErrorInfo\`（domain 为 \`fujie\`）中给出下列原因之一。程序应依据原因码判断，
不应依据文字。“可重试”表示同一请求稍后可能成功；有 \`RetryInfo\` 时按其等待，否则退避重试。
`;

const TABLE_HEAD = `| Reason 原因码 | gRPC | HTTP | Retry 可重试 | Meaning 含义 | Action 处理 |
|---|---|---|---|---|---|`;

/** The page as Markdown, one table per area. */
export function renderReturnCodes(): string {
  const sections = reasonsByArea().map(({ area, areaReasons }) =>
    [`## ${area.en} ${area.zh}`, "", TABLE_HEAD, ...areaReasons.map(renderRow), ""].join("\n"),
  );
  return [INTRODUCTION, ...sections].join("\n");
}

interface AreaReasons {
  readonly area: ReasonArea;
  readonly areaReasons: readonly Reason[];
}

function reasonsByArea(): readonly AreaReasons[] {
  const all = Object.keys(reasons).filter(isReason);
  const starts = reasonAreas.map((area) => all.indexOf(area.from));
  return reasonAreas.map((area, index) => ({ area, areaReasons: all.slice(starts[index], starts[index + 1]) }));
}

function renderRow(reason: Reason): string {
  const { code, retryable, en, zh, action } = reasons[reason];
  const meaning = `${escapeCell(zh)}<br>${escapeCell(en)}`;
  const retry = retryable ? "yes 是" : "no 否";
  return `| \`${reason}\` | ${code} | ${httpStatus[code]} | ${retry} | ${meaning} | ${escapeCell(action)} |`;
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}
