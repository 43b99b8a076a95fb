export * from "@fujie/api/fujie/options/v1/options";
