import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyText } from "./any-text.ts";
import { maskBankCard, maskCitizenId, maskPersonName, maskPhone } from "./masking.ts";

test("NI-25 the holder sees the ends of his own data only", () => {
  assert.equal(maskCitizenId("11010519491231002X"), "1****************X");
  assert.equal(maskCitizenId("CAN110080040501"), "C*************1");
  assert.equal(maskPhone("13812345678"), "138****5678");
  assert.equal(maskPhone("+8613812345678"), "138****5678");
  assert.equal(maskBankCard("4111111111111111"), "************1111");
  assert.equal(maskPersonName("张三"), "*三");
  assert.equal(maskPersonName("阿娜尔·𠮷"), "****𠮷");
});

test("NI-25 whatever has not the expected shape is hidden whole", () => {
  for (const mask of [maskCitizenId, maskPhone, maskBankCard, maskPersonName]) {
    for (const text of ["", "张", "\uD842张"]) assert.equal(mask(text), "***");
  }
  fc.assert(
    fc.property(anyText, (text) => {
      for (const mask of [maskCitizenId, maskPhone, maskBankCard]) assert.equal(mask(`${text}?`), "***");
    }),
  );
});
