export * from "@fujie/api/buf/validate/validate";
