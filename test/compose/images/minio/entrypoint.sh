#!/bin/bash
[ "${1:-}" = minio ] || set -- minio "$@"
exec "$@"
