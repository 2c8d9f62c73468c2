-- CreateTable
CREATE TABLE "root_key" (
    "fingerprint" CHAR(64) NOT NULL,
    "access_key_id" VARCHAR(128) NOT NULL,
    "accepted_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "root_key_pkey" PRIMARY KEY ("fingerprint")
);
