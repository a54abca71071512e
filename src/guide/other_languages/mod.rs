//! Signing a request in Python, Node, curl, PHP, Ruby, Go or Java, with the standard library alone.
//!
#![doc = include_str!("page.md")]
//!
//! # Python
#![doc = concat!("```python\n", include_str!("rfc9421.py"), "```")]
//! The house format:
#![doc = concat!("```python\n", include_str!("house.py"), "```")]
//!
//! # Node
#![doc = concat!("```js\n", include_str!("rfc9421.mjs"), "```")]
//! The house format:
#![doc = concat!("```js\n", include_str!("house.mjs"), "```")]
//!
//! # curl
//! This needs `openssl` beside it.
#![doc = concat!("```bash\n", include_str!("rfc9421.sh"), "```")]
//! The house format:
#![doc = concat!("```bash\n", include_str!("house.sh"), "```")]
//!
//! # PHP
#![doc = concat!("```php\n", include_str!("rfc9421.php"), "```")]
//! The house format:
#![doc = concat!("```php\n", include_str!("house.php"), "```")]
//!
//! # Ruby
#![doc = concat!("```ruby\n", include_str!("rfc9421.rb"), "```")]
//! The house format:
#![doc = concat!("```ruby\n", include_str!("house.rb"), "```")]
//!
//! # Go
#![doc = concat!("```go\n", include_str!("rfc9421.go"), "```")]
//! The house format:
#![doc = concat!("```go\n", include_str!("house.go"), "```")]
//!
//! # Java
//! This needs Java 17.
#![doc = concat!("```java\n", include_str!("Rfc9421.java"), "```")]
//! The house format:
#![doc = concat!("```java\n", include_str!("House.java"), "```")]
//!
//! # The house format, on the server
//! This description verifies what the second program of each language signs. The MAC does not cover
//! `content-type`, so the payload does not have it.
#![doc = concat!("```\n", include_str!("house.rs"), "# scheme().unwrap();\n```")]
