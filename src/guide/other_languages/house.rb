# KEY_ID=partner-1 SECRET=… ruby house.rb METHOD URL [BODY]
require "net/http"
require "openssl"
require "securerandom"

# Returns the headers to send with exactly these bytes.
def sign(method, uri, body, key_id, secret)
  authority = uri.host.downcase
  authority += ":#{uri.port}" unless uri.port == uri.default_port
  timestamp = Time.now.to_i.to_s
  nonce = SecureRandom.hex(16)
  message = [method, authority, uri.request_uri, key_id, timestamp, nonce, body].join("\n")
  {
    "x-key-id" => key_id,
    "x-timestamp" => timestamp,
    "x-nonce" => nonce,
    "x-signature" => "sha256=#{OpenSSL::HMAC.hexdigest("SHA256", secret, message)}",
  }
end

method, url, body = ARGV
body = body.to_s
uri = URI(url)
headers = sign(method, uri, body, ENV.fetch("KEY_ID"), ENV.fetch("SECRET"))
headers["content-type"] = "application/json"
request = Net::HTTPGenericRequest.new(method, !body.empty?, true, uri.request_uri, headers)
request.body = body unless body.empty?
answer = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") do |http|
  http.request(request)
end
puts answer.body, answer.code
