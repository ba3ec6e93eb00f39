// SPDX-License-Identifier: Apache-2.0
import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

const daemon = process.env.VOLARY_URL ?? "http://127.0.0.1:7180";

export default defineConfig({
  plugins: [solid()],
  build: {
    target: ["chrome123", "firefox128", "safari17.5"],
    cssTarget: ["chrome123", "firefox128", "safari17.5"],
    // The daemon's content policy allows no inline anything, data: included.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 150,
  },
  server: {
    proxy: { "/api": { target: daemon, ws: true, changeOrigin: true } },
  },
  test: { environment: "node", include: ["test/**/*.test.ts"] },
});
