# KEY_ID=partner-1 SECRET=… ruby rfc9421.rb METHOD URL [BODY]
require "net/http"
require "openssl"
require "securerandom"

# Returns the headers to send with exactly these bytes.
def sign(method, uri, content_type, body, key_id, secret)
  authority = uri.host.downcase
  authority += ":#{uri.port}" unless uri.port == uri.default_port
  headers = {}
  unless body.empty?
    digest = [OpenSSL::Digest.digest("SHA256", body)].pack("m0")
    headers = { "content-type" => content_type, "content-digest" => "sha-256=:#{digest}:" }
  end
  covered = {
    "@method" => method,
    "@authority" => authority,
    "@path" => uri.path.empty? ? "/" : uri.path,
    "@query" => "?#{uri.query}",
    **headers,
  }
  names = covered.keys.map { |name| %("#{name}") }.join(" ")
  nonce = SecureRandom.hex(16)
  parameters = %[(#{names});created=#{Time.now.to_i};keyid="#{key_id}";nonce="#{nonce}"]
  message = covered.map { |name, value| %("#{name}": #{value}\n) }.join
  message += %("@signature-params": #{parameters})
  mac = [OpenSSL::HMAC.digest("SHA256", secret, message)].pack("m0")
  headers.merge("signature-input" => "sig1=#{parameters}", "signature" => "sig1=:#{mac}:")
end

method, url, body = ARGV
body = body.to_s
uri = URI(url)
headers = sign(method, uri, "application/json", body, ENV.fetch("KEY_ID"), ENV.fetch("SECRET"))
request = Net::HTTPGenericRequest.new(method, !body.empty?, true, uri.request_uri, headers)
request.body = body unless body.empty?
answer = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") do |http|
  http.request(request)
end
puts answer.body, answer.code
