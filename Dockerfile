# The service with an external PostgreSQL. Three stages: everything to build, what runs, and both together on a clean base.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Install scripts would fetch programs the build does not use: the base image is Node, and dist needs no engine.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY prisma.config.ts tsconfig.json tsconfig.build.json ./
COPY scripts/schema-engine.mjs scripts/
COPY prisma prisma
COPY src src
RUN node_modules/.bin/prisma generate && node_modules/.bin/tsc -p tsconfig.build.json

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --omit=dev --omit=optional --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production \
    STOWAGE_HOST=0.0.0.0 \
    STOWAGE_OPERATOR_HOST=0.0.0.0 \
    STOWAGE_DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
COPY prisma/migrations prisma/migrations
# Owned by whom the service runs as, so that a volume mounted here starts out writable.
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 5160 5161
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.STOWAGE_OPERATOR_PORT || 5161) + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
CMD ["node", "--enable-source-maps", "--max-semi-space-size=8", "dist/main.js"]
