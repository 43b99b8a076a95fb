export {
  type EphemeralFollowOptions,
  ephemeralFollow,
  type FeedClient,
  type FeedVerifier,
  type Follower,
  type FollowerState,
  type FollowOptions,
  feedVerifier,
  followFeed,
} from "./follow.ts";
export { type Feed, type FeedOptions, type FeedTopic, feedService, type SnapshotItem } from "./service.ts";
export { signedBytes } from "./signed-bytes.ts";
export { publish, purgeFeed, purgeFeeds } from "./store.ts";
