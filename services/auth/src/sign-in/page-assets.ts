/** The pages' one style sheet and one script, inline and named by their digests in the content security policy. */
import { createHash } from "node:crypto";

export const style = `
:root{color-scheme:light dark;--ink:#1c2733;--paper:#fff;--ground:#eef2f6;--line:#c3ccd6;--accent:#8c1d18;--soft:#5b6875}
@media (prefers-color-scheme:dark){:root{--ink:#e7edf3;--paper:#1b232c;--ground:#10161c;--line:#3a4653;--accent:#e2766d;--soft:#9aa7b4}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);color:var(--ink);
font:16px/1.6 system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif}
main{width:min(26rem,100% - 2rem);margin:2rem 0;padding:2rem;background:var(--paper);border-top:4px solid var(--accent);
border-radius:.5rem;box-shadow:0 1px 12px #0002}
h1{margin:0 0 .25rem;font-size:1.4rem}h2{font-size:1.05rem;margin:1.75rem 0 .5rem}
p{margin:.25rem 0 1rem}.soft{color:var(--soft);font-size:.9rem}
label{display:block;margin:.75rem 0 .25rem}
input,select,textarea{width:100%;padding:.6rem .7rem;font:inherit;color:inherit;background:transparent;
border:1px solid var(--line);border-radius:.35rem}
textarea{font:.75rem/1.4 ui-monospace,monospace;resize:vertical}
button{margin-top:1rem;padding:.6rem 1.2rem;font:inherit;border:1px solid var(--accent);border-radius:.35rem;
background:var(--accent);color:var(--paper);cursor:pointer}
button.plain{background:transparent;color:var(--ink);border-color:var(--line)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
[role=alert]{margin:1rem 0;padding:.6rem .8rem;border-left:4px solid var(--accent);background:var(--ground)}
`;

/** Reads the chosen files and sends them as the same JSON that any other program would send. */
export const script = `
"use strict";
(() => {
  const form = document.getElementById("certificate-form");
  if (form === null) return;
  const alertBox = document.getElementById("certificate-alert");
  const toBase64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  const read = async (input) => new Uint8Array(await input.files[0].arrayBuffer());
  const split = (bytes) => {
    const blocks = new TextDecoder("latin1").decode(bytes).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
    return blocks === null ? [toBase64(bytes)] : blocks.map((block) => block.replace(/-----[^-]+-----|\\s/g, ""));
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    alertBox.hidden = true;
    try {
      const body = {
        certificates: split(await read(form.elements["certificates"])),
        signature: toBase64(await read(form.elements["signature"])),
        format: form.elements["format"].value,
      };
      const headers = { "content-type": "application/json", accept: "application/json" };
      const response = await fetch(form.action, { method: "POST", headers, body: JSON.stringify(body) });
      const answer = await response.json();
      if (response.ok) return location.assign(answer.location);
      throw new Error(answer.message);
    } catch (error) {
      alertBox.textContent = error.message;
      alertBox.hidden = false;
    }
  });
})();
`;

export const styleSource = sourceOf(style);
export const scriptSource = sourceOf(script);

function sourceOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
