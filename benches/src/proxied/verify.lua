-- The peer: a signature of RFC 9421 under one secret, checked in nginx. It hashes as the proxy does,
-- and remembers nothing: a request passes as often as it is sent.

local ffi = require "ffi"

ffi.cdef [[
typedef struct evp_md_st EVP_MD;
const EVP_MD *EVP_sha256(void);
unsigned char *HMAC(const EVP_MD *md, const void *key, int key_len, const unsigned char *data,
                    size_t len, unsigned char *out, unsigned int *out_len);
unsigned char *SHA256(const unsigned char *data, size_t len, unsigned char *out);
int CRYPTO_memcmp(const void *one, const void *other, size_t len);
]]

local SECRETS = { ["partner-1"] = "a secret of twenty-four!" }
local MAX_AGE, MAX_SKEW = 300, 5

local sha256 = ffi.C.EVP_sha256()
local hash = ffi.new("unsigned char[32]")
local var, re = ngx.var, ngx.re

local function component(name, body)
    if name == "@method" then
        return ngx.req.get_method()
    elseif name == "@authority" then
        return var.http_host:lower()
    elseif name == "@path" then
        return (var.request_uri:match("^[^?]*"))
    elseif name == "@query" then
        return "?" .. (var.args or "")
    elseif name == "content-digest" then
        local sent = var.http_content_digest
        ffi.C.SHA256(body, #body, hash)
        local digest = ngx.encode_base64(ffi.string(hash, 32))
        return sent == "sha-256=:" .. digest .. ":" and sent
    end
    return var["http_" .. name:gsub("-", "_")]
end

local function is_verified()
    local input, signature = var.http_signature_input, var.http_signature
    if not input or not signature then
        return false
    end
    local parts = re.match(input, [[^([a-z0-9]+)=(\(([^)]*)\)(.+))$]], "jo")
    local mac = parts and re.match(signature, [[^([a-z0-9]+)=:([^:]+):$]], "jo")
    if not mac or mac[1] ~= parts[1] then
        return false
    end
    local created = re.match(parts[4], [[;created=([0-9]+)]], "jo")
    local key = re.match(parts[4], [[;keyid="([^"]+)"]], "jo")
    local secret = key and SECRETS[key[1]]
    local age = created and ngx.time() - tonumber(created[1])
    if not secret or not age or age > MAX_AGE or age < -MAX_SKEW then
        return false
    end
    ngx.req.read_body()
    local body = ngx.req.get_body_data() or ""
    local lines, count, is_digested = {}, 0, false
    for name in parts[3]:gmatch('"([^"]+)"') do
        local value = component(name, body)
        if not value then
            return false
        end
        count = count + 1
        lines[count] = '"' .. name .. '": ' .. value
        is_digested = is_digested or name == "content-digest"
    end
    lines[count + 1] = '"@signature-params": ' .. parts[2]
    local message = table.concat(lines, "\n")
    ffi.C.HMAC(sha256, secret, #secret, message, #message, hash, nil)
    local sent = ngx.decode_base64(mac[2])
    return is_digested and sent and #sent == 32 and ffi.C.CRYPTO_memcmp(hash, sent, 32) == 0
end

return function()
    if not is_verified() then
        return ngx.exit(401)
    end
end
