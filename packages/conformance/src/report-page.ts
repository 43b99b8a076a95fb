import type { CaseReport, Report } from "./report.ts";
import { suiteCases } from "./suite/index.ts";

const RESULT_WORDS: Readonly<Record<CaseReport["result"], string>> = {
  PASSED: "通过 passed",
  FAILED: "未通过 failed",
  NOT_APPLICABLE: "不适用 n/a",
};

const STYLE = `
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #1c1c1e; }
h1 { font-size: 1.4rem; } dt { font-weight: 600; } dd { margin: 0 0 .4rem; word-break: break-all; }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid #ddd; padding: .4rem .5rem; text-align: left; vertical-align: top; }
code { font-size: .85em; } .verdict { display: inline-block; padding: .3rem .8rem; border-radius: .3rem; color: #fff; font-weight: 600; }
.PASSED { color: #14682c; } .FAILED { color: #a3161a; } .NOT_APPLICABLE { color: #5f6368; }
.verdict.PASSED { background: #14682c; } .verdict.FAILED { background: #a3161a; } .verdict { color: #fff; }
.small { color: #5f6368; font-size: .9em; }`;

/**
 * A report for people, in Chinese and English: one file without scripts or anything loaded from elsewhere. What counts
 * is the signed JSON beside it.
 */
export function renderReportPage(report: Report): string {
  const count = (result: CaseReport["result"]) => report.cases.filter((one) => one.result === result).length;
  const facts: readonly (readonly [string, string])[] = [
    ["信任源 Source", report.sourceId],
    ["地址 Endpoint", report.endpoint],
    ["随机数 Nonce", report.nonce],
    ["合同版本 Contract version", report.contractVersion],
    ["测试方密钥 Tester's key", report.testerKeyId],
    ["时间 Time", `${report.startTime} – ${report.endTime}`],
  ];
  return `<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(`信任源一致性测试报告 ${report.sourceId}`)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>信任源一致性测试报告 · Trust source conformance report</h1>
<p><span class="verdict ${report.verdict}">${RESULT_WORDS[report.verdict]}</span>
${count("PASSED")} 通过 passed, ${count("FAILED")} 未通过 failed, ${count("NOT_APPLICABLE")} 不适用 not applicable</p>
<dl>${facts.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`).join("\n")}</dl>
<table>
<thead><tr><th>用例 Case</th><th>要求 Requirement</th><th>结果 Result</th><th>说明 Detail</th><th>ms</th></tr></thead>
<tbody>
${report.cases.map(renderCase).join("\n")}
</tbody>
</table>
<p class="small">有效的是经测试方签名的 report.json 与 report.sig，本页仅供阅读。What counts is report.json with report.sig, signed by the tester; this page is for reading.</p>
</body>
</html>
`;
}

function renderCase({ id, title, requirement, result, reason, detail, milliseconds }: CaseReport): string {
  const zh = suiteCases.find((one) => one.id === id)?.title.zh ?? "";
  return `<tr><td>${escapeHtml(zh)}<br>${escapeHtml(title)}<br><code>${escapeHtml(id)}</code></td><td>${escapeHtml(requirement)}</td><td class="${result}">${RESULT_WORDS[result]}</td><td>${escapeHtml(detail === "" ? reason : detail)}</td><td>${milliseconds}</td></tr>`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}
